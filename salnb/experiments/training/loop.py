"""The loop of a training run: SAL, then learning, with measurements. A stored run goes on as if it had not been interrupted."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ...common.denormals import flushed_denormals
from ...common.progress import progress_bar
from ...sal.jacobian_rows import RowSAL
from ...sal.optimizer import SAL
from ..tasks.classification import ClassificationTask
from .checkpoints import Progress, is_due, load_checked, save_atomically
from .diagnostics import exponent_of, is_plain, log_sensitivity_of, profile_of
from .optimization import guess_loss, learn, logits_of, make_optimizer, rate_factor, set_rate
from .recipe import Policy, observe, sal_after_learning_step
from .restarts import Restarts

SAMPLES = 8  # of each replica, where exponents and gradients are measured
LOOKS, DEEP_LOOKS = 100, 10
STRUGGLING = 0.5  # share of the loss of guessing above which a network is drawn anew, where that was asked for
QUIET = 10  # passes in a row with almost no neuron below target, after which SAL before learning ends


class Run:
    """One training experiment over R replicas.

    Args:
        build: makes the untrained model from a generator. settings: what identifies the run, stored with it.
        path: file for the state of the run, written every ``save_every`` seconds; an existing one is continued.
        restart_every: after so many learning steps, and again after as many, replicas that struggle are drawn anew; None: never.
    """

    def __init__(
        self, problem: ClassificationTask, build: Callable[[torch.Generator], nn.Module], *, policy: Policy | None,
        optimizer: str, lr: float, clip: float, batch: int, steps: int, replicas: int, n_test: int, seeds: tuple[int, int, int],
        settings: dict, device=None, path: Path | None = None, save_every: float = 60.0, restart_every: int | None = None,
    ) -> None:  # fmt: skip
        weights, self.data, self.looking = (torch.Generator().manual_seed(seed) for seed in seeds)
        self.model = build(weights)
        self.twin = build(torch.Generator().manual_seed(0)).double().eval()  # for measurements: double precision, no hooks
        self.problem, self.policy, self.clip, self.lr = problem, policy, clip, lr
        self.batch, self.steps, self.replicas, self.device = batch, steps, replicas, device
        self.optimizer = make_optimizer(optimizer, list(self.model.parameters()), lr)
        self.restart_every = restart_every
        self.restarts = Restarts(self.model, self.optimizer, build, weights, replicas) if restart_every else None
        self.sal = self._attach() if policy is not None else None
        self.test = problem.draw(n_test, self.looking, replicas, fresh=True, device=device)
        self.running = torch.full((replicas,), guess_loss(problem.n_out), device=device)
        self.at = Progress(phase="sal" if self.sal is not None and policy.passes else "learning")
        self.settings, self.path, self.save_every = settings, path, save_every
        self.acted, self.saved = torch.zeros(replicas, device=device), time.perf_counter()
        self.best_weights: dict[str, Tensor] = {}
        if path is not None and path.exists():
            self._load()

    def _attach(self) -> SAL | RowSAL:
        p = self.policy
        common = dict(lr=p.lr, target=p.target, decay=p.decay, rule=p.rule)
        return SAL(self.model, average=p.average, **common) if is_plain(self.model) else RowSAL(self.model, **common)

    def _tensors(self) -> dict:
        parts = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "running": self.running,
                 "acted": self.acted, "data": self.data.get_state(), "looking": self.looking.get_state(),
                 "best_weights": self.best_weights}  # fmt: skip
        for name, part in (("sal", self.sal), ("restarts", self.restarts)):
            if part is not None:
                parts[name] = part.state_dict()
        return parts

    def save(self) -> None:
        """Stores everything that the rest of the run depends on."""
        self.saved = time.perf_counter()
        save_atomically(self.path, {**self._tensors(), "at": vars(self.at), "settings": self.settings})

    def _load(self) -> None:
        stored = load_checked(self.path, self.settings)
        self.model.load_state_dict(stored["model"])
        self.optimizer.load_state_dict(stored["optimizer"])
        if self.sal is not None:
            self.sal.load_state_dict(stored["sal"])
        if self.restarts is not None:
            self.restarts.load_state_dict(stored["restarts"])
        self.running, self.acted = stored["running"].to(self.device), stored["acted"].to(self.device)
        # A file of an earlier version has none: then those of now stand in for the looks before.
        kept = stored.get("best_weights") or self.model.state_dict()
        self.best_weights = {name: value.clone().to(self.device) for name, value in kept.items()}
        self.data.set_state(stored["data"])
        self.looking.set_state(stored["looking"])
        self.at = Progress(**stored["at"])

    def go(self, progress: bool = False) -> None:
        """Continues the run from its present state to its end."""
        self.model.train()
        if self.at.phase == "sal":
            for _ in progress_bar(range(self.at.passes, self.policy.passes), enabled=progress, label="SAL"):
                if self._timed(self._sal_pass):
                    break
            self.at.phase = "learning"
        if self.sal is not None:
            for group in self.sal.param_groups:
                group["lr"], group["target"] = self.policy.learning_lr, self.policy.learning_target
            if self.policy.when == "before":
                self.sal.detach()
        if self.at.step == 0 and not self.at.history:
            self._look()
        for _ in progress_bar(range(self.at.step, self.steps), enabled=progress, label="learning"):
            self._timed(self._learning_step)
        if self.path is not None:
            self.save()

    def _timed(self, work: Callable[[], object]) -> object:
        began = time.perf_counter()
        result = work()
        self.at.seconds += time.perf_counter() - began
        if self.path is not None and time.perf_counter() - self.saved > self.save_every:
            self.save()
        return result

    def _sal_pass(self) -> bool:
        """One pass without labels and a SAL step; True if almost no neuron was below target in the last ``QUIET`` passes."""
        inputs, _ = self.problem.draw(self.policy.batch, self.data, self.replicas, device=self.device)
        with torch.no_grad(), flushed_denormals():
            observe(self.model, self.sal, inputs)
            self.sal.step()
        self.at.passes += 1
        self.at.quiet = self.at.quiet + 1 if float(self.sal.share_below_target().mean()) < self.policy.rest else 0
        return self.at.quiet >= QUIET

    def _learning_step(self) -> None:
        course = rate_factor(self.at.step, self.steps)
        set_rate(self.optimizer, self.lr * course)
        if self.sal is not None and self.policy.falling:
            set_rate(self.sal, self.policy.learning_lr * course)
        inputs, targets = self.problem.draw(self.batch, self.data, self.replicas, device=self.device)
        if self.sal is not None:
            self.sal.discard()  # SAL acts in some of the steps only, and on the pass of that step
        old = None if self.restarts is None else self.restarts.before()
        value = learn(self.model, self.optimizer, inputs, targets, clip=self.clip)
        if self.sal is not None and self.policy.when != "before" and self.at.step % self.policy.every == 0:
            self.acted += sal_after_learning_step(self.model, self.sal, self.policy, inputs, running=self.running,
                                                  guessing=guess_loss(self.problem.n_out), generator=self.looking)  # fmt: skip
        self.running = 0.9 * self.running + 0.1 * value
        self.at.step += 1
        if self.restarts is not None:
            self.restarts.after(old, self.at.step)
            if self.at.step % self.restart_every == 0 and self.at.step < self.steps:
                guessing = guess_loss(self.problem.n_out)
                struggling = ~(self.running <= STRUGGLING * guessing)  # a loss that is not a number struggles too
                self.restarts.restart(struggling, self.at.step)
                self.running = torch.where(struggling, guessing, self.running)
        if is_due(self.at.step, self.steps, LOOKS) or self.at.step > self.steps - self.steps // 10 and is_due(
            self.at.step, self.steps, 2 * LOOKS):  # fmt: skip
            self._look()

    def _look(self) -> None:
        self.model.eval()
        with torch.no_grad(), flushed_denormals():
            right = (logits_of(self.model, self.test[0]).argmax(-1) == self.test[1]).float().mean(-1)
        self.model.train()
        self._keep_best(right)
        self.at.note(step=self.at.step, loss=self.running.tolist(), accuracy=right.tolist(), adjusted=self.acted.tolist())
        if is_due(self.at.step, self.steps, DEEP_LOOKS):
            self.at.note(looked=self.at.step, **{k: v.tolist() for k, v in self.measure().items()})

    def _keep_best(self, right: Tensor) -> None:
        """Keeps the weights of those replicas whose accuracy on the test batch is higher than at every look before."""
        before = self.at.history.get("accuracy")
        better = right > torch.tensor(before, device=right.device).amax(0) if before else torch.ones_like(right, dtype=torch.bool)
        if better.any():
            for name, value in self.model.state_dict().items():
                mask = better.view(-1, *[1] * (value.ndim - 1))
                self.best_weights[name] = torch.where(mask, value, self.best_weights.get(name, value))

    def measure(self) -> dict[str, Tensor]:
        """Log-sensitivity (R,), exponent (R,) and gradient profile (R, L or T) on some of the test samples."""
        self.twin.load_state_dict(self.model.state_dict())
        inputs, targets = self.test[0][..., :SAMPLES, :].double(), self.test[1][:, :SAMPLES]
        with torch.no_grad():
            found = {"log_sensitivity": log_sensitivity_of(self.twin, inputs),
                     "exponent": exponent_of(self.twin, inputs, self.looking)}  # fmt: skip
        return {**found, "gradient_profile": profile_of(self.twin, inputs, targets)}
