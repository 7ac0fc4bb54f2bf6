"""How far a run has come, and how that is stored in a file, so that an interrupted run can be resumed."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import torch


@dataclass
class Progress:
    """How far a run has come, and its history; it is stored together with the run's tensors."""

    phase: str = "sal"
    passes: int = 0
    quiet: int = 0
    step: int = 0
    seconds: float = 0.0
    history: dict[str, list] = field(default_factory=dict)

    def note(self, **values: object) -> None:
        """Appends each value to the history of its name."""
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)


def save_atomically(path: Path, content: dict) -> None:
    """Writes all or nothing: an interrupted run leaves the old file as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    torch.save(content, scratch)
    scratch.replace(path)


def load_checked(path: Path, settings: dict) -> dict:
    """What ``path`` holds of the run with these settings.

    Raises:
        ValueError: it holds another run.
    """
    stored = torch.load(path, map_location="cpu", weights_only=True)
    if stored["settings"] != settings:
        different = sorted(k for k in settings if stored["settings"].get(k) != settings[k])
        raise ValueError(f"path: {path} holds a run with other {', '.join(different)}; name another file or delete this one")
    return stored


def is_due(step: int, steps: int, looks: int) -> bool:
    """Whether one of ``looks`` evenly spread looks falls on this step; the last step always is one."""
    return step * looks // steps > (step - 1) * looks // steps
