"""A hand-written recurrent network whose activation acts on a sum: U = a(x) + b(h), of which each layer's hook sees a part."""

import pytest
import torch
from torch import nn

from salnb import SAL
from tests.problems import autograd_sensitivity, random
from tests.tolerances import close

EXACT = close(torch.float64, 7 * (3 + 5) + 7 * 4, 10)  # seven steps of two products, and means over all samples


class Elman(nn.Module):
    """h' = tanh(a(x) + b(h)), the loop by hand; ``at_once`` takes the whole input sequence through a in one call."""

    def __init__(self, at_once: bool) -> None:
        super().__init__()
        self.a, self.b, self.at_once = nn.Linear(3, 5).double(), nn.Linear(5, 5).double(), at_once
        with torch.no_grad():
            for i, parameter in enumerate(self.parameters()):
                parameter.copy_(random(*parameter.shape, seed=i))

    def forward(self, inputs):
        state, drives = inputs.new_zeros(inputs.shape[1], 5), self.a(inputs) if self.at_once else inputs
        for t in range(len(inputs)):
            state = torch.tanh((drives[t] if self.at_once else self.a(inputs[t])) + self.b(state))
        return state


def truth(model, inputs):
    """What the recurrent weights read and the whole pre-activation, over all steps."""
    state, before, pre = inputs.new_zeros(inputs.shape[1], 5), [], []
    with torch.no_grad():
        for x in inputs:
            before.append(state)
            pre.append(model.a(x) + model.b(state))
            state = torch.tanh(pre[-1])
    return torch.cat(before), torch.cat(pre)


@pytest.mark.parametrize("at_once", [False, True])
def test_sensitivity_and_change_are_those_of_the_whole_pre_activation(at_once):
    model, inputs = Elman(at_once), random(7, 4, 3, seed=9)
    sal = SAL(model, layers={"b": ("tanh", "a")}, lr=0.1, target=50.0, decay=0.0)
    weight, bias = model.b.weight.detach().clone(), model.b.bias.detach().clone()
    others = [parameter.clone() for parameter in model.a.parameters()]
    before, pre = truth(model, inputs)
    model(inputs)
    sal.step()
    sensitivity, by_weight, by_bias = autograd_sensitivity(weight, before, pre, torch.tanh)
    torch.testing.assert_close(sal.sensitivity["b"], sensitivity.mean(0), **EXACT)
    torch.testing.assert_close(model.b.weight.detach(), weight + 0.1 * by_weight, **EXACT)
    torch.testing.assert_close(model.b.bias.detach(), bias + 0.1 * by_bias, **EXACT)
    assert all(torch.equal(a, b) for a, b in zip(others, model.a.parameters(), strict=True))  # SAL moves b alone


def test_a_single_step_is_a_pair_too():
    model, inputs = Elman(False), random(1, 4, 3)
    sal = SAL(model, layers={"b": ("tanh", "a")})
    model(inputs)
    sal.step()
    _, pre = truth(Elman(False), inputs)
    wanted = (1 - torch.tanh(pre).square()).mean(0) * Elman(False).b.weight.norm(dim=1)
    torch.testing.assert_close(sal.sensitivity["b"], wanted.detach(), **EXACT)


def test_gating_holds_the_input_weights_of_the_same_neurons():
    model, inputs = Elman(False), random(3, 4, 3)
    sal, optimizer = SAL(model, layers={"b": ("tanh", "a")}, lr=0.0, target=100.0), torch.optim.SGD(model.parameters(), lr=1.0)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    model(inputs).sum().backward()
    sal.gate_gradients_()
    optimizer.step()
    sal.step()
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())


def test_calls_that_do_not_pair_are_refused_in_words():
    class Odd(Elman):
        odd = True

        def forward(self, inputs):
            if self.odd:
                self.a(inputs[0])
            return super().forward(inputs)

    model = Odd(False)
    sal = SAL(model, layers={"b": ("tanh", "a")})
    with pytest.raises(ValueError, match="layers: 'b': what goes to tanh is not the sum of its output and those of"):
        model(random(3, 2, 3))
    assert sal.sensitivity == {}
    model.odd = False
    model(random(3, 2, 3))
    model.odd = True
    with pytest.raises(RuntimeError, match="b ran 3 times in this pass, but a layer .* ran 4 times"):
        model(random(3, 2, 3))


def test_what_is_added_must_be_a_linear_of_the_model():
    with pytest.raises(ValueError, match="layers: 'c', to be added to 'b', is no Linear of the model"):
        SAL(Elman(False), layers={"b": ("tanh", "c")})
