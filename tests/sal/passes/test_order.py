"""sal.step() between forward and backward is said by backward in words; a loop in the right order never hears of it."""

import pytest
import torch
from torch import nn

from salnb import SAL, DeepNet, TanhRNN
from salnb.sal.passes.order import MESSAGE
from tests.problems import HandLoop, random, seeded, sequential

BUILD = {
    "linear": (lambda: sequential(3, 6, 6, 6, 2), (5, 3)),
    "relu": (lambda: sequential(3, 6, 6, 6, 2, activation=nn.ReLU), (5, 3)),
    "hand loop": (lambda: HandLoop(3), (5, 3)),
    "deep": (lambda: DeepNet(3, 6, 2, 4, gain=0.8, replicas=(2,), generator=seeded()), (5, 3)),
    "flat": (lambda: TanhRNN(3, 6, 2, gain=0.8, generator=seeded()), (7, 5, 3)),
    "nn.RNN": (lambda: nn.RNN(3, 6, 2), (7, 5, 3)),
}


def built(kind: str, **settings) -> tuple[nn.Module, SAL, torch.Tensor]:
    make, shape = BUILD[kind]
    model = make()
    return model, SAL(model, lr=0.1, target=50.0, **settings), random(*shape).float()


def loss_of(output) -> torch.Tensor:
    return (output[0] if isinstance(output, tuple) else output).square().sum()


@pytest.mark.parametrize("passes", [0, 2])
@pytest.mark.parametrize("kind", BUILD)
def test_a_step_between_forward_and_backward_is_an_error_in_words(kind, passes):
    model, sal, x = built(kind)
    for _ in range(passes):
        loss_of(model(x)).backward()
        sal.step()
    loss = loss_of(model(x))
    sal.step()
    with pytest.raises(RuntimeError) as caught:
        loss.backward()
    assert str(caught.value) == MESSAGE
    loss_of(model(x)).backward()  # and everything is in order again
    sal.step()


def test_by_torch_autograd_grad_and_with_a_dictionary_of_outputs():
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = sequential(3, 6, 6, 6, 2)

        def forward(self, x):
            return {"loss": self.body(x).square().sum(), "size": len(x)}

    model = Named()
    sal = SAL(model, lr=0.1, target=50.0)
    loss = model(random(5, 3).float())["loss"]
    sal.step()
    with pytest.raises(RuntimeError, match="SAL: sal.step.. changed the weights after this forward pass"):
        torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("kind", BUILD)
def test_the_loop_in_the_right_order(kind):
    model, sal, x = built(kind)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for i in range(4):
        optimizer.zero_grad()
        loss_of(model((1 + i) * x)).backward()
        if i % 2:
            sal.gate_gradients_()
        optimizer.step()
        sal.step()


@pytest.mark.parametrize("kind", BUILD)
def test_a_graph_that_is_kept_is_gone_through_several_times(kind):
    model, sal, x = built(kind)
    for _ in range(3):
        loss = loss_of(model(x))
        loss.backward(retain_graph=True)
        loss.backward(retain_graph=True)
        loss.backward()
        sal.step()


@pytest.mark.parametrize("kind", BUILD)
def test_accumulated_gradients(kind):
    model, sal, x = built(kind)
    for _ in range(2):
        for i in range(3):
            loss_of(model((1 + i) * x)).backward()
        sal.step()
    for _ in range(2):  # and all forward passes first
        losses = [loss_of(model((1 + i) * x)) for i in range(3)]
        sum(losses).backward()
        sal.step()


def test_two_networks_one_against_the_other():
    """The discriminator's weights are moved while the generator's graph waits, as in every such loop."""
    generator, discriminator = sequential(3, 6, 6, 4), sequential(4, 6, 6, 1, seed=7)
    sals = [SAL(net, lr=0.1, target=50.0) for net in (generator, discriminator)]
    optimizers = [torch.optim.SGD(net.parameters(), 0.01) for net in (generator, discriminator)]
    for i in range(3):
        real = random(5, 4, seed=i).float()
        fake = generator(random(5, 3, seed=i + 10).float())
        optimizers[1].zero_grad()
        (discriminator(fake.detach()).mean() - discriminator(real).mean()).backward()
        optimizers[1].step(), sals[1].step()
        optimizers[0].zero_grad()
        (-discriminator(fake).mean()).backward()
        optimizers[0].step(), sals[0].step()
        sals[1].discard()  # the pass of the generator's loss


def test_a_pass_whose_graph_is_thrown_away():
    model, sal, x = built("linear")
    outputs = []
    for _ in range(3):
        outputs.append(model(x))  # kept for plotting, never for backward
        loss_of(model(x)).backward()
        sal.step()


def test_a_step_that_moves_nothing_harms_no_backward():
    for settings in ({"lr": 0.0}, {"target": 1e-9, "lr": 0.1}):
        model = sequential(3, 6, 6, 6, 2)
        sal = SAL(model, **settings)
        loss = loss_of(model(random(5, 3).float()))
        sal.step()
        loss.backward()


def test_backward_that_does_not_need_the_moved_weights_goes_through():
    """Only the readout learns: its gradient needs its inputs, and no weight that SAL moves."""
    model = sequential(3, 6, 6, 6, 2)
    for layer in (model[0], model[2], model[4]):
        layer.requires_grad_(False)
    model[2].requires_grad_(True)
    sal = SAL(model, lr=0.1, target=50.0)
    h = model(random(5, 3).float())
    before = model[2].weight.clone()
    sal.step()
    assert not torch.equal(before, model[2].weight)
    (gradient,) = torch.autograd.grad(h.sum(), model[6].bias)
    assert torch.equal(gradient, torch.full((2,), 5.0))


def test_another_optimizers_mistake_is_not_laid_to_sal():
    model, sal, x = built("linear")
    loss_of(model(x)).backward()
    sal.step()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loss = loss_of(model(x))
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation") as caught:
        loss.backward()
    assert "SAL" not in str(caught.value)


def test_no_grad_and_a_sal_that_is_gone():
    model, sal, x = built("linear")
    with torch.no_grad():
        model(x)
    sal.step()
    loss = loss_of(model(x))
    del sal
    loss.backward()
