"""Classification tasks, the book's by name or a function of the user, with different data for each replica."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .handwritten_digits import digits
from .point_sets import disc_and_ring, parity, two_moons
from .sequences import lagged_parity, lagged_xor, temporal_order, varied_xor

TASKS = {
    "xor": lagged_xor,
    "varied_xor": varied_xor,
    "lagged_parity": lagged_parity,
    "temporal_order": temporal_order,
    "parity": parity,
    "two_moons": two_moons,
    "disc_and_ring": disc_and_ring,
    "digits": digits,
}

Task = str | Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
CLASSES = {"temporal_order": 4, "digits": 10}
IN_TIME = ("xor", "varied_xor", "lagged_parity", "temporal_order")
PROBE = 1024  # samples from which the number of classes of a user's own task is taken


@dataclass(frozen=True)
class ClassificationTask:
    """A classification task for R replicas.

    Attributes:
        function: draws inputs and targets, ``function(n, generator)``. name: of the task. in_time: whether inputs are sequences.
        n_in: number of inputs. n_out: number of classes.
    """

    function: Callable
    name: str
    in_time: bool
    n_in: int
    n_out: int

    def draw(
        self, n: int, generator: torch.Generator, replicas: int, *, fresh: bool = False, device=None
    ) -> tuple[Tensor, Tensor]:
        """Inputs (R, n, n_in), or (T, R, n, n_in) in time, and targets (R, n); ``fresh``: from the test set, if there is one."""
        split = {"split": "test"} if fresh and self.name == "digits" else {}
        inputs, targets = self.function(n * replicas, generator, **split)
        inputs = inputs.unflatten(-2, (replicas, n)).to(device)
        return inputs, targets.long().reshape(replicas, n).to(device)


def as_classification_task(task: Task, *, lag: int | None = None) -> ClassificationTask:
    """The classification task that ``task`` names or computes: a name in ``TASKS``, or ``(n, generator) -> (inputs, targets)``.

    Args:
        task: in time (``lag`` given) its inputs are (T, n, n_in), otherwise (n, n_in); targets (n,) are classes 0, 1, ...
        lag: time steps between the first and the last input, for a task in time. None: the task has no time.

    Raises:
        ValueError: an unknown name, a named task in time without ``lag`` or one without time with it; inputs or targets of
            another form.
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
    n_classes = CLASSES.get(name, 2) if isinstance(task, str) else max(2, int(targets.max()) + 1)
    return ClassificationTask(function, name, in_time, inputs.shape[-1], n_classes)
