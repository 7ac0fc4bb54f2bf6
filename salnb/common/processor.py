"""The processor's own name, because numbers are rounded differently from one to another."""

import platform
from pathlib import Path


def processor() -> str:
    """The processor's own name with family and model, where the system tells it; never a host's name."""
    path = Path("/proc/cpuinfo")
    fields = [line.split(":", 1) for line in path.read_text().splitlines() if ":" in line] if path.exists() else []
    known = {name.strip(): value.strip() for name, value in reversed(fields)}
    name = known.get("model name") or platform.processor() or platform.machine()
    return name + (f" (family {known['cpu family']}, model {known['model']})" if "model" in known else "")
