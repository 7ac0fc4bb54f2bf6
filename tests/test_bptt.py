"""The gradient derived by hand equals automatic differentiation, whole and truncated."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from salnb import TanhRNN
from salnb.bptt import backprop_through_time

CASES = [(7, (), 1.0), (7, (3,), 1.0), ((5, 6), (), 0.5), ((5, 6, 4), (2, 3), 1.0), (1, (2,), 1.0)]


def squared(outputs, targets):
    return (outputs - targets).square().sum()


def last_cross_entropy(outputs, targets):
    return F.cross_entropy(outputs[-1].flatten(0, -2), targets.flatten(), reduction="sum")


def autograd(rnn, inputs, targets, loss, window):
    state, outputs = None, []
    for chunk in inputs.split(window or len(inputs)):
        out, states = rnn(chunk, state)
        outputs.append(out)
        state = states[-1].detach()
    value = loss(torch.cat(outputs), targets)
    names, parameters = zip(*rnn.named_parameters(), strict=True)
    return value.detach(), dict(zip(names, torch.autograd.grad(value, parameters, allow_unused=True), strict=True))


@pytest.mark.parametrize("window", [None, 1, 4, 13, 50])
@pytest.mark.parametrize(("n_hidden", "replicas", "connectivity"), CASES)
@pytest.mark.parametrize("loss", [squared, last_cross_entropy])
def test_equals_autograd(n_hidden, replicas, connectivity, window, loss, device):
    generator = torch.Generator().manual_seed(0)
    rnn = TanhRNN(2, n_hidden, 3, gain=1.3, replicas=replicas, connectivity=connectivity, generator=generator,
                  dtype=torch.float64, device=device)  # fmt: skip
    for parameter in rnn.parameters():
        if parameter.shape[-1] != 2:
            torch.nn.init.normal_(parameter, generator=None) if parameter.ndim == len(replicas) + 1 else None
    inputs = torch.randn(13, *replicas, 4, 2, generator=generator, dtype=torch.float64).to(device)
    targets = torch.randn(13, *replicas, 4, 3, generator=generator, dtype=torch.float64).to(device)
    if loss is last_cross_entropy:
        targets = torch.randint(3, (*replicas, 4), generator=generator).to(device)
    value, gradients = backprop_through_time(rnn, inputs, targets, loss, window=window)
    wanted_value, wanted = autograd(rnn, inputs, targets, loss, window)
    assert torch.allclose(value, wanted_value, rtol=1e-12)
    assert set(gradients) == set(wanted)
    for name, gradient in wanted.items():
        assert gradients[name].shape == gradient.shape
        assert torch.allclose(gradients[name], gradient, rtol=1e-10, atol=1e-10), name


def test_inputs_shared_by_the_replicas():
    rnn = TanhRNN(2, 5, 1, gain=1.0, replicas=(3,), dtype=torch.float64)
    inputs, targets = torch.randn(6, 4, 2, dtype=torch.float64), torch.zeros(6, 3, 4, 1, dtype=torch.float64)
    _, gradients = backprop_through_time(rnn, inputs, targets, squared)
    _, wanted = autograd(rnn, inputs, targets, squared, None)
    for name in wanted:
        assert torch.allclose(gradients[name], wanted[name], atol=1e-10)


def test_bad_input_is_named():
    rnn = TanhRNN(1, 3, 1, gain=1.0)
    inputs, targets = torch.zeros(4, 2, 1), torch.zeros(4, 2, 1)
    with pytest.raises(TypeError, match="rnn: got GRU"):
        backprop_through_time(torch.nn.GRU(1, 2), inputs, targets, squared)
    for window in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="window: got"):
            backprop_through_time(rnn, inputs, targets, squared, window=window)
    with pytest.raises(ValueError, match="loss: returned"):
        backprop_through_time(rnn, inputs, targets, lambda o, t: o - t)
