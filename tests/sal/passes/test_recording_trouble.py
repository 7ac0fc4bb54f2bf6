"""A pass when something else happens: exceptions, compilation, autocast, tensors overwritten, hooks removed."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from salnb import SAL
from tests.problems import HandLoop, random, sequential
from tests.sal.passes.test_recording import NO_PASS, reference, result, watched
from tests.tolerances import rounding


class Fragile(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.error = nn.Linear(3, 3), None

    def forward(self, x):
        x = torch.tanh(self.hidden(x))
        if self.error is not None:
            raise self.error
        return x


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), SystemExit()])
def test_a_call_that_raises_is_no_pass_and_the_next_one_is(error):
    """A reader who stops a cell raises KeyboardInterrupt in the middle of forward."""
    model, x = Fragile(), random(4, 3).float()
    sal = SAL(model, layers={"hidden": "tanh"})
    model.error = error
    with pytest.raises(type(error)):
        model(x)
    model.error = None
    with pytest.raises(RuntimeError, match=NO_PASS):
        sal.step()
    model(x)
    first = sal.log_sensitivity()
    model.error = error
    with pytest.raises(type(error)):
        model(1e6 * x)
    torch.testing.assert_close(sal.log_sensitivity(), first)  # the pass that was waiting is waiting still
    model.error = None
    torch.tanh(model.hidden(1e6 * x))  # and a layer called outside is outside
    torch.testing.assert_close(sal.log_sensitivity(), first)
    sal.discard()
    model(1e6 * x)
    assert sal.log_sensitivity() < first - 0.5  # a slope now counts only where |U| < 3, of a million
    sal.step()


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.error = nn.Linear(3, 3), None

    def forward(self, x, depth=2):
        x = torch.tanh(self.hidden(x))
        x = self(x, depth - 1) if depth else x
        if self.error is not None and depth == 2:
            raise self.error
        return x


def test_a_model_that_calls_itself_is_one_pass():
    model, loop, x = Nested(), HandLoop(3), random(4, 3).float()
    loop.hidden.load_state_dict(model.hidden.state_dict())
    sals = [SAL(m, layers={"hidden": "tanh"}) for m in (model, loop)]
    model(x), loop(x, steps=3)
    torch.testing.assert_close(sals[0].log_sensitivity(), sals[1].log_sensitivity())


def test_a_call_within_itself_that_succeeds_is_no_pass_if_the_outer_one_raises():
    model = Nested()
    sal, model.error = SAL(model, layers={"hidden": "tanh"}), ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        model(random(4, 3).float())
    with pytest.raises(RuntimeError, match=NO_PASS):
        sal.step()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch._dynamo's own, at a hook
@pytest.mark.parametrize("make", ["sequential", "hand loop", "rnn"])
def test_attach_before_compile(make):
    torch.compiler.reset()
    model, layers, x = {
        "sequential": lambda: (sequential(3, 6, 6, 2), None, random(5, 3).float()),
        "hand loop": lambda: (HandLoop(), {"hidden": "tanh"}, random(5, 5).float()),
        "rnn": lambda: (nn.RNN(3, 5, 2), None, random(4, 5, 3).float()),
    }[make]()
    sal = SAL(model, lr=0.1, decay=0.5, layers=layers)
    model(x)
    plain = sal.log_sensitivity()
    compiled = torch.compile(model, backend="eager")
    for _ in range(2):
        output = compiled(x)
        (output[0] if make == "rnn" else output).sum().backward()
        torch.testing.assert_close(sal.log_sensitivity(), plain)
        sal.step()
        assert sal._recorder.finished is None
        plain = (model(x), sal.log_sensitivity())[1]


@pytest.mark.parametrize("make", [lambda: sequential(3, 6, 6, 2), lambda: nn.RNN(3, 6, 2)])
def test_under_autocast_averages_and_weights_keep_the_weights_dtype(make, device):
    model, x = make().to(device), random(4, 5, 3, device=device).float()
    sal = SAL(model, lr=0.1)
    model(x)
    exact = sal.log_sensitivity()
    sal.discard()
    with torch.autocast(device.type, dtype=torch.bfloat16):
        model(x)
    # In bfloat16 a pre-activation of terms that add up to about 2 is off by as many units, and log f' by at most twice that.
    torch.testing.assert_close(sal.log_sensitivity(), exact, rtol=0, atol=rounding(torch.bfloat16, 1, 2))
    sal.step()
    assert {s.dtype for s in sal.sensitivity.values()} == {torch.float32}
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_the_hooks_change_neither_outputs_nor_gradients(device):
    model, sal, x = watched(device)
    plain = sequential(3, 6, 6, 2, device=device)
    for net in (model, plain):
        net(x).square().sum().backward()
    assert torch.equal(model(x), plain(x))
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


def test_detach_removes_the_hooks_and_the_waiting_pass(device):
    model, sal, x = watched(device)
    model(x)
    sal.detach()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not any(module._forward_hooks_always_called for module in model.modules())
    model(x)
    with pytest.raises(RuntimeError, match=NO_PASS):
        sal.step()


def test_two_sals_on_one_model_see_the_same_pass(device):
    model, sal, x = watched(device)
    other = SAL(model, layers=["0"], lr=0.1)
    model(x)
    torch.testing.assert_close(result(model, sal), reference(device))
    other.step()
    assert list(other.sensitivity) == ["0"]


def test_inference_mode_and_no_grad_passes_count(device):
    for mode in (torch.no_grad, torch.inference_mode):
        model, sal, x = watched(device)
        with mode():
            model(x)
        torch.testing.assert_close(result(model, sal), reference(device))


def test_a_learned_initial_state_may_be_moved_by_the_optimizer_before_sal_reads_it(device):
    class Learned(HandLoop):
        def __init__(self) -> None:
            super().__init__(5, device=device)
            self.start = nn.Parameter(random(1, 5, device=device).float())

        def forward(self, steps):
            return super().forward(self.start.expand(4, 5), steps)

    model = Learned()
    sal, optimizer = SAL(model, layers={"hidden": "tanh"}), torch.optim.SGD([model.start], lr=1.0)
    model(3).sum().backward()
    before = sal.log_sensitivity()
    optimizer.step()
    torch.testing.assert_close(sal.log_sensitivity(), before)
    sal.step()


class Sneaky(nn.Module):
    """Overwrites a pre-activation after the activation has read it."""

    def __init__(self, sneaky: bool) -> None:
        super().__init__()
        self.body, self.sneaky = sequential(3, 3, 3, 2), sneaky

    def forward(self, x):
        u = self.body[2](self.body[:2](x))
        output = self.body[3](u)
        if self.sneaky:
            F.relu_(u)
        return self.body[4](output)


def test_a_pre_activation_overwritten_unknown_to_sal_is_an_error_not_a_wrong_number():
    model = Sneaky(False)
    sal = SAL(model)
    with torch.no_grad():
        model(random(4, 3).float())
        sal.step()
        before = [parameter.clone() for parameter in model.parameters()]
        model.sneaky = True  # the look has seen nothing of it
        model(random(4, 3).float())
    with pytest.raises(RuntimeError, match="pre-activation of body.2 was changed in place after the layer ran"):
        sal.step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_a_pre_activation_overwritten_from_the_first_pass_on_is_copied():
    found = []
    for sneaky in (False, True):
        model = Sneaky(sneaky)
        sal = SAL(model, lr=0.1)
        for seed in range(2):
            with torch.no_grad():
                model(random(4, 3, seed=seed).float())
            sal.step()
        found.append([*sal.sensitivity.values(), *model.parameters()])
    torch.testing.assert_close(*found, rtol=0, atol=0)  # the same operations on the same numbers
