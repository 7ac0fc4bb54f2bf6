"""What was measured, as text, and the machine it was measured on."""

import platform
import statistics

from salnb.common.processor import processor


def machine(device: str = "cpu") -> dict[str, str]:
    """Processor, Python, torch and the linear algebra behind it; never a host's name."""
    import torch

    told = torch.__config__.show()
    parts = dict(part.split("=", 1) for part in told.replace("\n", ", ").split(", ") if "=" in part)
    found = {"processor": processor(), "system": platform.system(), "cores used": "1", "Python": platform.python_version(),
             "torch": str(torch.__version__), "BLAS of torch": parts.get("LAPACK_INFO", "unknown")}  # fmt: skip
    return found | ({} if device == "cpu" else {"GPU": torch.cuda.get_device_name()})


def seconds_text(line: dict) -> str:
    """Median seconds, or why there are none.

    >>> seconds_text({"seconds": [1.0, 2.0, 30.0]}), seconds_text({"reason": "only ODEs"})
    ('2.00 s', 'only ODEs')
    """
    if not line.get("seconds"):
        return line.get("reason") or "not measured yet"
    value = statistics.median(line["seconds"])
    return f"{value * 1000:.1f} ms" if value < 0.1 else f"{value:.2f} s"


def verdict(record: dict) -> str:
    """The ratio beside its bar.

    >>> verdict({"ratio": 0.31, "low": 0.3, "high": 0.33, "bar": 0.4, "ours": "a", "peer": "b"})
    '0.31 (0.30–0.33) of b, to reach 0.4: reached'
    >>> verdict({"ratio": 3.0, "low": 2.0, "high": 4.0, "bar": None, "ours": "a", "peer": "b"})
    '3.00 (2.00–4.00) of b, no bar'
    """
    bar = "no bar" if record["bar"] is None else f"to reach {record['bar']:g}"
    if "ratio" not in record:
        return f"{bar}: not measured"
    tuned = " · {1:.2f} ({2:.2f}–{3:.2f}) of {0}".format(*record["tuned"]) if "tuned" in record else ""
    reached = "" if record["bar"] is None else ": reached" if record["ratio"] <= record["bar"] else ": NOT reached"
    numbers = f"{record['ratio']:.2f} ({record['low']:.2f}–{record['high']:.2f})"
    return f"{numbers} of {record['peer']}, {bar}{reached}{tuned}"


def row_text(record: dict) -> str:
    """One row: its work, who did it in how long, the ratio."""
    text = [record["title"]]
    for line in sorted(record["lines"], key=lambda line: statistics.median(line.get("seconds") or [float("inf")])):
        mark = {"ours": "*", "other": "·", "floor": "·"}.get(line["role"], " ")
        part = f"  (measured on 1/{1 / line['share']:g})" if line.get("seconds") and line.get("share", 1) < 1 else ""
        text.append(f"  {mark} {line['name']:36} {line.get('version', ''):10} {seconds_text(line)}{part}")
    return "\n".join([*text, f"    → {verdict(record)}"])
