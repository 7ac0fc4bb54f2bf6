"""The record that a training experiment returns, and how it is made from a task and a network."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ...common.arguments import check_integers
from ...common.denormals import flushed_denormals
from ..tasks.classification import ClassificationTask
from .loop import Run
from .optimization import logits_of
from .recipe import Policy

FRESH = 1000  # samples of each replica that the final accuracy is counted on
PLACES = 30  # layers or time steps at which the stored gradient is given
EVERY = 4  # of the looks before the last tenth of training, every fourth is stored
SUCCESSES = (0.95, 0.98)  # accuracies that the chapters ask for, over depth and over time


@dataclass(frozen=True)
class TrainingRun:
    """R networks trained side by side, each on data of its own.

    Attributes:
        accuracy: (R,), share of right answers at the end on fresh data.
        held: (R,), the worst accuracy on a fixed test batch over the last tenth of training.
        stopped: (R,), share of right answers on fresh data with the weights of the look at which the test batch had gone best
            (the first such look): what early stopping would have kept.
        log_sensitivity: (R,), at the end, nats per layer or time step; of gates and layer norm by the rows of the Jacobian.
        exponent: (R,), at the end: mean log growth of one random tangent, per layer or per time step of the sequences, from
            the first step and without a warm-up; see ``salnb.experiments.training.exponent_of``.
        gradient_profile: (R, depth) or (R, T), length of the loss gradient at every layer or time step, at the end.
        history: at C looks "step" (C,), "loss" and "accuracy" (C, R), "adjusted" (C, R) in how many steps SAL has acted so far;
            at K deeper looks "looked" (K,), "log_sensitivity", "exponent" (K, R) and "gradient_profile" (K, R, L or T). The first
            look is after SAL and before learning. "restarts" (R,): how often each network was drawn anew, if that was asked for.
        passes: SAL passes before learning. seconds: of the work itself, over all sessions. device, settings: where and what.
    """

    accuracy: Tensor
    held: Tensor
    stopped: Tensor
    log_sensitivity: Tensor
    exponent: Tensor
    gradient_profile: Tensor
    history: dict[str, Tensor]
    passes: int
    seconds: float
    device: str
    settings: dict

    def as_json(self) -> dict:
        """Plain lists, rounded to what is meaningful, for ``book/results``.

        Gradients are the log10 of their median at some places; accuracies and losses are given at the looks of ``kept_looks``.
        """
        profiles = self.history["gradient_profile"]
        places = torch.linspace(0, profiles.shape[-1] - 1, min(PLACES, profiles.shape[-1])).round().long()
        logs = profiles[..., places].clamp_min(1e-300).log10().median(1).values
        seen = self.history
        accuracy, steps, looked = rounded(seen["accuracy"], 2), seen["step"].int().tolist(), seen["looked"].int().tolist()
        kept = kept_looks(steps, accuracy, looked)
        plain = {"step": [steps[i] for i in kept], "accuracy": [accuracy[i] for i in kept],
                 "loss": rounded(seen["loss"][kept].median(1).values, 4), "adjusted": rounded(seen["adjusted"][-1], 0),
                 "looked": looked, "log_sensitivity": rounded(seen["log_sensitivity"], 3),
                 "exponent": rounded(seen["exponent"], 3)}  # fmt: skip
        return {
            "accuracy": rounded(self.accuracy, 4), "held": rounded(self.held, 4), "stopped": rounded(self.stopped, 4),
            "log_sensitivity": rounded(self.log_sensitivity, 4), "exponent": rounded(self.exponent, 4),
            **({"restarts": rounded(seen["restarts"], 0)} if "restarts" in seen else {}),
            "history": {**plain, "places": places.tolist(), "log10_gradient": rounded(logs, 1)},
            "passes": self.passes, "seconds": round(self.seconds, 1), "device": self.device, "settings": self.settings,
        }  # fmt: skip


def kept_looks(steps: list[int], accuracy: list[list[float]], looked: list[int]) -> list[int]:
    """The looks that are stored: the last tenth of training whole, and of the others every fourth and those that count something.

    These are the first and the last look at which a network is above, or not below, an accuracy that a chapter asks for, and the
    deeper looks. So what is held, when it was first reached and when it was lost come out as from all looks.

    Args:
        steps: learning step of each look. accuracy: one row per look, one column per network. looked: steps of the deeper looks.

    Example:
        >>> kept_looks([0, 10, 20, 30, 40, 50, 100], [[0.5], [0.5], [0.5], [0.99], [0.6], [0.6], [1.0]], looked=[0, 100])
        [0, 3, 4, 6]
    """
    last_tenth = steps[-1] - max(steps[-1] // 10, 1)
    kept = {i for i, step in enumerate(steps) if i % EVERY == 0 or step > last_tenth or step in looked}
    for course in zip(*accuracy, strict=True):
        for success in SUCCESSES:
            for right in ([i for i, a in enumerate(course) if a > success], [i for i, a in enumerate(course) if a >= success]):
                kept |= {right[0], right[-1]} if right else set()
    return sorted(kept)


def rounded(values: Tensor, digits: int) -> list | float | None:
    """Nested lists with so many decimals; what is not a finite number becomes None, which JSON knows."""
    if values.ndim:
        return [rounded(v, digits) for v in values]
    number = float(values)
    return round(number, digits) if abs(number) < float("inf") else None


def run_problem(
    problem: ClassificationTask, build: Callable[[torch.Generator], nn.Module], named: dict, *, policy: Policy | None,
    optimizer: str, lr: float, clip: float, batch: int, replicas: int, steps: int, n_test: int,
    generator: torch.Generator | None, device, progress: bool, path: str | Path | None, save_every: float,
    restart_every: int | None = None,
) -> TrainingRun:  # fmt: skip
    """SAL, learning and the last measurements of one experiment.

    Raises:
        ValueError: a size or rate out of range.
    """
    for name, value, least in (("gain", named["gain"], 0.0), ("bias", named["bias"], 0.0), ("save_every", save_every, 0.0)):
        if not value >= least:
            raise ValueError(f"{name}: got {value!r}, expected a number >= {least:g}")
    if not clip > 0:
        raise ValueError(f"clip: got {clip!r}, expected a length > 0; float('inf') clips nothing")
    if restart_every is not None:
        check_integers(restart_every=(restart_every, 1))
        if policy is not None or optimizer != "adam":
            raise ValueError(f"restart_every: got {restart_every} with {'SAL' if policy is not None else optimizer}, expected "
                             "sal=False and optimizer='adam'")  # fmt: skip
        named = {**named, "restart_every": restart_every}
    seeds = tuple(torch.randint(2**60, (3,), generator=generator).tolist())
    settings = {**named, "task": problem.name, "sal": None if policy is None else dict(vars(policy)), "optimizer": optimizer,
                "lr": lr, "clip": clip, "batch": batch, "replicas": replicas, "steps": steps, "seeds": list(seeds)}  # fmt: skip
    run = Run(problem, build, policy=policy, optimizer=optimizer, lr=lr, clip=clip, batch=batch, steps=steps, replicas=replicas,
              n_test=n_test, seeds=seeds, settings=settings, device=device, path=None if path is None else Path(path),
              save_every=save_every, restart_every=restart_every)  # fmt: skip
    run.go(progress)
    history = {name: torch.tensor(values, dtype=torch.float64) for name, values in run.at.history.items()}
    last_tenth = history["step"] > steps - max(steps // 10, 1)
    accuracy = fresh_accuracy(run)
    run.model.load_state_dict(run.best_weights)
    if run.restarts is not None:
        history["restarts"] = run.restarts.count
    return TrainingRun(
        accuracy=accuracy, held=history["accuracy"][last_tenth].amin(0), stopped=fresh_accuracy(run),
        log_sensitivity=history["log_sensitivity"][-1], exponent=history["exponent"][-1],
        gradient_profile=history["gradient_profile"][-1], history=history, passes=run.at.passes, seconds=run.at.seconds,
        device=str(device or "cpu"), settings=settings)  # fmt: skip


def fresh_accuracy(run: Run, at_once: int = 100) -> Tensor:
    """Share of right answers (R,) on samples that the network has not met."""
    run.model.eval()
    right, generator = [], torch.Generator().manual_seed(run.settings["seeds"][2] ^ 1)
    for _ in range(FRESH // at_once):
        inputs, targets = run.problem.draw(at_once, generator, run.replicas, fresh=True, device=run.device)
        with torch.no_grad(), flushed_denormals():
            right.append((logits_of(run.model, inputs).argmax(-1) == targets).double().mean(-1))
    return torch.stack(right).mean(0).cpu()
