"""A task by name or the user's own, drawn for many replicas at once, each with data of its own."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .handwritten_digits import digits
from .point_sets import disc_and_ring, parity, two_moons
from .sequences import lagged_parity, lagged_xor, temporal_order

TASKS = {
    "xor": lagged_xor,
    "lagged_parity": lagged_parity,
    "temporal_order": temporal_order,
    "parity": parity,
    "two_moons": two_moons,
    "disc_and_ring": disc_and_ring,
    "digits": digits,
}

Task = str | Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
CLASSES = {"temporal_order": 4, "digits": 10}
IN_TIME = ("xor", "lagged_parity", "temporal_order")
PROBE = 1024  # samples that show how many classes a reader's own task has


@dataclass(frozen=True)
class Problem:
    """A classification task for R replicas."""

    function: Callable
    name: str
    in_time: bool
    n_in: int
    n_out: int

    def draw(
        self, n: int, generator: torch.Generator, replicas: int, *, fresh: bool = False, device=None
    ) -> tuple[Tensor, Tensor]:
        """Inputs (R, n, n_in), or (T, R, n, n_in) in time, and targets (R, n); ``fresh``: from the held-out part, if any."""
        split = {"split": "test"} if fresh and self.name == "digits" else {}
        inputs, targets = self.function(n * replicas, generator, **split)
        inputs = inputs.unflatten(-2, (replicas, n)).to(device)
        return inputs, targets.long().reshape(replicas, n).to(device)


def as_problem(task: Task, *, lag: int | None = None) -> Problem:
    """What ``task`` means: a name of ``TASKS`` or a callable ``(n, generator) -> (inputs, targets)``.

    Args:
        task: in time (``lag`` given) its inputs are (T, n, n_in), otherwise (n, n_in); targets (n,) are classes 0, 1, ...
        lag: for the named tasks with a lag, the steps between first and last input; None asks for a task without time.

    Raises:
        ValueError: an unknown name, a task of the other kind, inputs or targets of another form.
    """
    in_time = lag is not None
    fitting = [name for name in TASKS if (name in IN_TIME) == in_time]
    if isinstance(task, str):
        if task not in fitting:
            raise ValueError(f"task: got {task!r}, expected one of {', '.join(fitting)} or a callable (n, generator)")
        known = TASKS[task]
        function = (lambda n, generator, **more: known(n, generator, lag=lag, **more)) if in_time else known
    elif callable(task):
        function = task
    else:
        raise ValueError(f"task: got {type(task).__name__}, expected one of {', '.join(fitting)} or a callable (n, generator)")
    name = task if isinstance(task, str) else getattr(task, "__name__", type(task).__name__)
    inputs, targets = function(PROBE, torch.Generator().manual_seed(0))
    dimensions = 3 if in_time else 2
    if inputs.ndim != dimensions or inputs.shape[-2] != PROBE or targets.shape != (PROBE,):
        wanted = "(T, n, n_in)" if in_time else "(n, n_in)"
        raise ValueError(
            f"task: for n = {PROBE} {name} returned inputs {tuple(inputs.shape)} and targets {tuple(targets.shape)}, "
            f"expected {wanted} and (n,)"
        )
    if targets.is_floating_point() or targets.is_complex() or int(targets.min()) < 0:
        raise ValueError(f"task: {name} returned targets of {targets.dtype} from {targets.min()}, expected classes 0, 1, ...")
    seen = CLASSES.get(name, 2) if isinstance(task, str) else max(2, int(targets.max()) + 1)
    return Problem(function, name, in_time, inputs.shape[-1], seen)
