"""Every sentence of the design on what a pass is."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from salnb import SAL
from tests.problems import HandLoop, autograd_sensitivity, random, sequential

NO_PASS = "SAL: there is no pass to use: "  # and then which of the causes it is


def watched(device="cpu", **given):
    model = sequential(3, 6, 6, 2, device=device)
    return model, SAL(model, lr=0.1, decay=0.5, **given), random(5, 3, device=device).float()


def result(model, sal) -> tuple[torch.Tensor, torch.Tensor]:
    sal.step()
    return sal.sensitivity["2"].clone(), model[2].weight.detach().clone()


def reference(device="cpu", x=None):
    """What one step gives after exactly one plain pass."""
    model, sal, standard = watched(device)
    model(standard if x is None else x)
    return result(model, sal)


def test_a_pass_is_one_call_of_the_model_given_to_sal(device):
    model, sal, x = watched(device)
    model[:3](x)  # parts of the model, called on their own
    model[2](random(5, 6, device=device).float())
    with pytest.raises(RuntimeError, match=NO_PASS + "watched layers ran . times, but outside a call of the Sequential"):
        sal.step()
    model(x)
    sal.step()


def test_calls_of_a_watched_layer_in_a_hand_written_loop_over_time_are_concatenated(device):
    short, x = HandLoop(5, device=device), random(4, 5, device=device).float()
    sal = SAL(short, layers={"hidden": "tanh"})
    short(x, steps=4)
    long = sal.log_sensitivity()
    squares, state = [], x
    for _ in range(4):
        sal.discard()
        short(state, steps=1)
        squares.append((2 * sal.log_sensitivity()).exp())
        state = torch.tanh(short.hidden(state)).detach()
    torch.testing.assert_close(long, 0.5 * torch.stack(squares).mean(0).log())


def test_calls_of_different_batch_sizes_count_by_their_samples():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Linear(3, 3)

        def forward(self, x):
            return torch.tanh(self.hidden(x)).sum() + torch.tanh(self.hidden(x[:1] + 1)).sum()

    model, x = Twice().double(), random(4, 3)
    sal, inputs = SAL(model, lr=0.0, layers={"hidden": "tanh"}), torch.cat([x, x[:1] + 1])
    model(x)
    sal.step()
    pre = inputs @ model.hidden.weight.mT + model.hidden.bias
    expected = autograd_sensitivity(model.hidden.weight, inputs, pre.detach(), torch.tanh)[0].mean(0)
    torch.testing.assert_close(sal.sensitivity["hidden"], expected)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint_recomputation_is_ignored(reentrant, device):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = sequential(3, 6, 6, 2, device=device)

        def forward(self, x):
            return checkpoint(self.body, x, use_reentrant=reentrant)

    model, x = Checkpointed(), random(5, 3, device=device).float().requires_grad_()
    sal = SAL(model, lr=0.1, decay=0.5)
    model(x).sum().backward()
    sal.step()
    expected = reference(device)
    torch.testing.assert_close(sal.sensitivity["body.2"], expected[0])
    torch.testing.assert_close(model.body[2].weight.detach(), expected[1])


def test_a_layer_used_elsewhere_is_ignored(device):
    model, sal, x = watched(device)
    other = nn.Sequential(model[2], nn.Tanh())
    model(x)
    other(100 * torch.ones(7, 6, device=device))
    torch.testing.assert_close(result(model, sal), reference(device))


@pytest.mark.parametrize("transform", ["jvp", "vmap", "grad", "functional_call", "jacrev", "weights of another network"])
def test_tensors_of_functorch_transforms_are_ignored(transform, device):
    model, sal, x = watched(device)
    parameters, functional_call = dict(model.named_parameters()), torch.func.functional_call
    other = {name: 2 * parameter.detach() for name, parameter in parameters.items()}
    model(x)  # stays the pass
    match transform:
        case "jvp":
            torch.func.jvp(model, (2 * x,), (x,))
        case "vmap":
            torch.func.vmap(model)(2 * x)
        case "grad":
            torch.func.grad(lambda v: model(v).sum())(2 * x)
        case "functional_call":
            torch.func.grad(lambda p: functional_call(model, p, (2 * x,)).sum())(parameters)
        case "jacrev":
            torch.func.jacrev(model)(2 * x)
        case "weights of another network":
            functional_call(model, other, (x,))
    torch.testing.assert_close(result(model, sal), reference(device))


def test_a_transform_inside_the_model_leaves_its_ordinary_calls_in_the_pass(device):
    class WithJacobian(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = sequential(3, 6, 6, 2, device=device)

        def forward(self, x):
            penalty = torch.func.vmap(torch.func.jacrev(self.body))(x).square().sum()
            return self.body(x).sum() + penalty

    model, x = WithJacobian(), random(5, 3, device=device).float()
    sal = SAL(model, lr=0.1, decay=0.5)
    model(x)
    sal.step()
    torch.testing.assert_close(sal.sensitivity["body.2"], reference(device)[0])


def test_nothing_is_recorded_in_eval_mode_and_the_waiting_pass_stays(device):
    model, sal, x = watched(device)
    model.eval()
    model(x)
    with pytest.raises(RuntimeError, match=NO_PASS + r"the Sequential was called in evaluation mode only; call model.train\(\)"):
        sal.step()
    model.train()
    model(x)
    model.eval()
    model(50 * x)
    torch.testing.assert_close(result(model, sal), reference(device))


def test_all_passes_since_the_last_step_count(device):
    model, sal, x = watched(device)
    model(3 * x)
    model(x[:2])
    torch.testing.assert_close(result(model, sal), reference(device, torch.cat([3 * x, x[:2]])))


def test_discarded_passes_do_not_count(device):
    model, sal, x = watched(device)
    for _ in range(3):
        model(50 * x)
    sal.discard()
    with pytest.raises(RuntimeError, match=NO_PASS):
        sal.step()
    model(x)
    torch.testing.assert_close(result(model, sal), reference(device))


def test_step_uses_up_the_pass(device):
    model, sal, x = watched(device)
    model(x)
    sal.step()
    weight = model[2].weight.clone()
    used = NO_PASS + r"the last pass was used up by the step\(\) before"
    with pytest.raises(RuntimeError, match=used):
        sal.step()
    with pytest.raises(RuntimeError, match=used):
        sal.gate_gradients_()
    assert torch.equal(weight, model[2].weight)


def test_step_takes_the_weights_as_they_are_now(device):
    model, sal, x = watched(device)
    model(x)
    with torch.no_grad():
        inputs = model[:2](x)
        pre = model[2](inputs)
        model[2].weight.mul_(0.5)  # as an optimizer would, after the pass
    s, by_weight, _ = autograd_sensitivity(model[2].weight, inputs, pre, torch.tanh)
    expected = model[2].weight.detach() + 0.1 * by_weight
    sal.step()
    torch.testing.assert_close(sal.sensitivity["2"], s.mean(0))
    torch.testing.assert_close(model[2].weight.detach(), expected)


def test_what_a_copy_of_a_watched_model_sees_is_not_recorded(tmp_path):
    model, sal, x = watched()
    model(x)
    torch.save(model, tmp_path / "model.pt")
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(tmp_path / "model.pt", weights_only=False)):
        torch.testing.assert_close(twin(50 * x), model[4](model[:4](50 * x)))
        other = SAL(twin, lr=0.1)
        twin(x)
        other.step()
        twin(50 * x)
    torch.testing.assert_close(result(model, sal), reference())
