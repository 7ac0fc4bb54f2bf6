"""Two processes that train together: equal weights to the bit, and the step of one process that has the samples of both."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from salnb import SAL, DeepNet

if not (dist.is_available() and dist.is_gloo_available()):
    pytest.skip("this PyTorch has no gloo", allow_module_level=True)

WORLD = 2


class Experts(nn.Module):
    """The second hidden layer is another one for each process, the way a mixture of experts sends samples."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 2)
        self.experts = nn.ModuleList(nn.Linear(16, 16) for _ in range(WORLD))

    def forward(self, x, which):
        h = torch.tanh(self.first(x))
        return self.last(torch.tanh(self.experts[which](h)))


def sequential() -> nn.Sequential:
    hidden = [nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16), nn.GELU()]
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), *hidden, nn.Linear(16, 2))


def normalized() -> nn.Sequential:
    """One layer of slopes and one by rows."""
    hidden = [nn.Linear(16, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 16), nn.GELU()]
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), *hidden, nn.Linear(16, 2))


MODELS = {"experts": Experts, "deep": lambda: DeepNet(8, 16, 2, 4, gain=0.5), "rows": normalized, "whole rows": normalized}


STEPS = {"plain": 100, "inner": 100, "deep": 100, "experts": 100, "rows": 100, "whole": 5, "whole rows": 5, "nan": 8}


def train_all(rank: int, folder: str) -> None:
    """One process. Most of its time goes into importing PyTorch, so that it has all cases one after the other."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    torch.save({case: train(rank, case, steps) for case, steps in STEPS.items()}, f"{folder}/{rank}")
    dist.destroy_process_group()


def train(rank: int, case: str, steps: int) -> tuple[dict, dict]:
    """The state and the sensitivities after so many steps."""
    torch.manual_seed(0)
    model = MODELS.get(case, sequential)().double()
    ddp = DistributedDataParallel(model, find_unused_parameters=case == "experts")
    sal = SAL(model if case == "inner" else ddp, lr=1e-2, rule="proportional" if case == "deep" else "one_sided",
              layers={f"module.experts.{i}": "tanh" for i in range(WORLD)} if case == "experts" else None)  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), 0.0 if "whole" in case else 1e-2, momentum=0.0 if "whole" in case else 0.9)
    data = torch.Generator().manual_seed(1)
    for step in range(steps):
        both = torch.randn(2 * WORLD, 16, 8, dtype=torch.float64, generator=data)
        mine = both[2 * rank : 2 * rank + 2]
        if case == "nan" and rank == 1 and step == 3:
            mine = mine * torch.nan
        optimizer.zero_grad()
        for x in mine:  # two passes for every step, as in gradient accumulation
            loss = ddp(x, rank if step % 3 else 0) if case == "experts" else ddp(x)
            if case != "nan" or step != 3:  # a careful loop leaves the batch out, in all processes
                loss.square().mean().backward()
        if case in ("deep", "experts"):
            sal.gate_gradients_()
        optimizer.step()
        sal.step()
    sensitivity = {name.removeprefix("module."): value.clone() for name, value in sal.sensitivity.items()}
    return {name: value.clone() for name, value in model.state_dict().items()}, sensitivity


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> list[dict]:
    """What each process has after each case."""
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(train_all, args=(str(folder),), nprocs=WORLD)
    return [torch.load(folder / str(rank)) for rank in range(WORLD)]


@pytest.mark.parametrize("case", ["plain", "inner", "deep", "experts", "rows"])
def test_all_processes_have_the_same_weights_to_the_bit_after_100_steps_on_different_data(case, results):
    (weights, sensitivity), (others, other_sensitivity) = (each[case] for each in results)
    torch.manual_seed(0)
    begun = MODELS.get(case, sequential)().double().state_dict()
    assert list(weights) == list(begun)
    for name, value in weights.items():
        assert torch.equal(value, others[name]), name
    assert not torch.equal(weights[[*begun][2]], begun[[*begun][2]])
    for name, average in sensitivity.items():
        assert torch.equal(average, other_sensitivity[name]), name


@pytest.mark.parametrize("case", ["whole", "whole rows"])
def test_a_step_of_two_processes_is_the_step_of_one_with_all_samples(case, results):
    weights, sensitivity = results[0][case]
    torch.manual_seed(0)
    model, data = MODELS.get(case, sequential)().double(), torch.Generator().manual_seed(1)
    sal = SAL(model, lr=1e-2)
    for _ in range(STEPS[case]):
        model(torch.randn(2 * WORLD, 16, 8, dtype=torch.float64, generator=data).flatten(0, 1))
        sal.step()
    for name, value in model.state_dict().items():
        # Sums over 64 samples in another order: a few units in the last place of each of 5 steps.
        torch.testing.assert_close(weights[name], value, rtol=1e-12, atol=1e-12)
    for name, average in sal.sensitivity.items():
        torch.testing.assert_close(sensitivity[name], average, rtol=1e-12, atol=1e-12)


def test_a_pass_that_is_not_finite_in_one_process_does_not_separate_them(results):
    (weights, _), (others, _) = (each["nan"] for each in results)
    for name, value in weights.items():
        assert torch.equal(value, others[name]) and bool(value.isfinite().all()), name
