"""SAL in the loops of Lightning and Accelerate, as *SAL at work* writes it: the weights are those of a plain loop, to the bit.

Lightning itself is used where it is installed; a stand-in with its order of calls is tested everywhere. Lightning calls the
closure (training_step, zero_grad, backward) inside ``optimizer.step``, and outside it while gradients accumulate.
"""

import importlib.util

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from salnb import SAL
from tests.problems import random, seeded, sequential

X, Y = random(64, 8).float(), random(64, 2, seed=2).float()
BATCHES = [(X[i : i + 16], Y[i : i + 16]) for i in range(0, 64, 16)]


def built() -> nn.Sequential:
    model, generator = sequential(8, 16, 16, 2), seeded()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    return model


def plain_loop(accumulate: int) -> list[torch.Tensor]:
    model = built()
    sal, optimizer = SAL(model, lr=1e-2), torch.optim.SGD(model.parameters(), 1e-2)
    for _ in range(3):
        for k, (x, y) in enumerate(BATCHES):
            if k % accumulate == 0:
                optimizer.zero_grad()
            ((model(x) - y).square().mean() / accumulate).backward()
            if (k + 1) % accumulate == 0:
                optimizer.step()
                sal.step()
    return [parameter.detach() for parameter in model.parameters()]


def learner(base: type) -> type:
    """A module as a user of Lightning writes it, on top of Lightning's module or its stand-in."""

    class Learner(base):
        def __init__(self) -> None:
            super().__init__()
            self.net = built()
            self.sal = SAL(self.net, lr=1e-2)

        def training_step(self, batch, index):
            return (self.net(batch[0]) - batch[1]).square().mean()

        def optimizer_step(self, *args, **kwargs):
            super().optimizer_step(*args, **kwargs)
            self.sal.step()

        def configure_optimizers(self):
            return torch.optim.SGD(self.net.parameters(), 1e-2)

    return Learner


class StandIn(nn.Module):
    def optimizer_step(self, epoch, index, optimizer, closure) -> None:
        optimizer.step(closure)


def fit(module: StandIn, accumulate: int) -> None:
    """The order of calls of Lightning's automatic optimization."""
    optimizer = module.configure_optimizers()
    for epoch in range(3):
        for index, batch in enumerate(BATCHES):
            def closure(batch=batch, index=index):
                loss = module.training_step(batch, index) / accumulate
                if index % accumulate == 0:
                    optimizer.zero_grad()
                loss.backward()
                return loss  # fmt: skip

            if (index + 1) % accumulate:
                closure()
            else:
                module.optimizer_step(epoch, index, optimizer, closure)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_in_the_order_of_lightnings_calls(accumulate):
    module = learner(StandIn)()
    fit(module, accumulate)
    assert all(torch.equal(p, q) for p, q in zip(module.net.parameters(), plain_loop(accumulate), strict=True))


@pytest.mark.skipif(importlib.util.find_spec("lightning") is None, reason="Lightning is not installed")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("accumulate", [1, 2])
def test_in_lightning(accumulate):
    from lightning import LightningModule, Trainer

    module = learner(LightningModule)()
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(max_epochs=3, accelerator="cpu", accumulate_grad_batches=accumulate, **quiet)
    trainer.fit(module, DataLoader(BATCHES, batch_size=None))
    assert all(torch.equal(p, q) for p, q in zip(module.net.parameters(), plain_loop(accumulate), strict=True))


def test_a_step_in_the_wrong_hook_is_answered_in_words():
    class Early(learner(StandIn)):
        def optimizer_step(self, epoch, index, optimizer, closure) -> None:
            def early():
                loss = self.training_step(BATCHES[0], 0)
                self.sal.step()
                loss.backward()

            optimizer.step(early)

    with pytest.raises(RuntimeError, match=r"The order is: forward, backward, optimizer\.step\(\), sal\.step\(\)"):
        fit(Early(), 1)
