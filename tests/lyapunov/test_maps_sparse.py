"""A sparse matrix as a map: in every layout it is the dense map to rounding, in states, tangents, exponents and derivatives."""

import subprocess
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from salnb import covariant_vectors, finite_time_exponents, lyapunov_spectrum, tanh_map
from salnb.lyapunov.maps import SparseProduct
from tests.digits import FACTOR
from tests.problems import random, seeded
from tests.tolerances import rounding, within

N = 12
LAYOUTS = {
    "COO": lambda w: w.to_sparse(),
    "CSR": lambda w: w.to_sparse_csr(),
    "CSC": lambda w: w.to_sparse_csc(),
    "BSR": lambda w: w.to_sparse_bsr((2, 3)),
    "BSC": lambda w: w.to_sparse_bsc((2, 3)),
}


def connections(gain: float = 1.5, *, empty: bool = True, dtype=torch.float64) -> torch.Tensor:
    """A dense matrix with four tenths of its entries; with an empty row and column, or with no zero on its diagonal."""
    kept = torch.rand(N, N, generator=seeded(1)) < 0.4
    kept.fill_diagonal_(True)
    if empty:
        kept[N // 2] = kept[:, N // 3] = False
    return (gain * random(N, N) * kept / (0.4 * N) ** 0.5).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 3, N])
@pytest.mark.parametrize("lead", [(), (1,), (4,), (3, 4), (0,)])
@pytest.mark.parametrize("gain", [1.0, 1.7, "many"])
def test_states_and_tangents_are_those_of_algebra(gain, lead, k, dtype):
    weight, state = connections(dtype=dtype), random(*lead, N, seed=1, dtype=dtype)
    tangents, before = random(*lead, N, k, seed=2, dtype=dtype), state.clone()
    gain = torch.linspace(0.5, 2.0, lead[-1] if lead else 1).squeeze() if gain == "many" else gain
    factor = gain.to(dtype).unsqueeze(-1) if isinstance(gain, torch.Tensor) else gain
    step = tanh_map(weight.to_sparse(), gain)
    following, moved = step.jvp(state, tangents)
    expected = torch.tanh(factor * torch.einsum("ij,...j->...i", weight, state))
    largest = 2 * float(weight.abs().sum(-1).max())  # what is added up for one number, at a gain of at most 2
    bound = {"atol": rounding(dtype, N + 3, largest * float(state.abs().max()) if state.numel() else 1.0), "rtol": 0}
    torch.testing.assert_close(following, expected, **bound)
    assert torch.equal(step(state), following) and torch.equal(state, before)
    with torch.no_grad():
        assert all(torch.equal(*pair) for pair in zip(step.jvp(state, tangents), (following, moved), strict=True))
    slope = (factor * (1 - expected.square())).unsqueeze(-1)
    # The slope 1 - x² is off by twice what x is off by, and takes the tangents along.
    bound = {"atol": 5 * bound["atol"] * max(1.0, largest * float(tangents.abs().max()) if tangents.numel() else 1.0), "rtol": 0}
    torch.testing.assert_close(moved, slope * (weight @ tangents), **bound)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_the_same_map_and_stays_what_it_was(layout):
    weight, state = connections(), random(5, N, seed=1)
    sparse = LAYOUTS[layout](weight)
    step, expected = tanh_map(sparse, 1.3), torch.tanh(1.3 * state @ weight.mT)
    (sparse._values() if layout == "COO" else sparse.values()).zero_()
    torch.testing.assert_close(step(state), expected, **within(expected, N, 10.0))


def test_entries_given_twice_are_added():
    places = torch.tensor([[0, 0, 1, 0], [1, 1, 0, 1]])
    twice = torch.sparse_coo_tensor(places, torch.tensor([0.5, 0.25, 2.0, -0.125]), (2, 2), check_invariants=True)
    torch.testing.assert_close(tanh_map(twice)(torch.eye(2)), torch.tensor([[0.0, 2.0], [0.625, 0.0]]).tanh())


@pytest.mark.parametrize("n", [1, 4])
def test_a_matrix_without_entries_kills_every_direction(n):
    empty = torch.zeros(n, n, dtype=torch.float64).to_sparse()
    found = lyapunov_spectrum(tanh_map(empty), torch.ones(n, dtype=torch.float64), n_steps=5)
    assert not found.state.any() and (found.exponents == -torch.inf).all()


def otherwise_rounded(step, seed):
    """The same map with states and tangents off by a few roundings, as by sums in another order."""
    noise, few = seeded(1000 + seed), 4 * torch.finfo(torch.float64).eps

    def off(tensor, dim):
        draw = torch.randn(tensor.shape, generator=noise, dtype=tensor.dtype)
        return tensor + few * tensor.abs().amax(dim, keepdim=True) * draw

    def same(state):
        return off(step(state), -1)

    same.jvp = lambda state, tangents: tuple(map(off, step.jvp(state, tangents), (-1, -2)))
    return same


SETTINGS = [{"k": 1}, {"k": 1, "history": False, "qr_every": "auto"}, {"k": 3, "qr_every": 2}, {"k": 4, "method": "cholesky"},
            {"k": 10, "method": "elimination"}, {"k": 10, "history": False, "qr_every": "auto"}]  # fmt: skip


@pytest.mark.parametrize("gain", [1.0, "many"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_exponents_are_those_of_the_dense_map(settings, gain):
    weight, state = connections(gain=1.6), random(2, 3, N, seed=1) if gain == "many" else random(N, seed=1)
    gain = torch.tensor([0.7, 1.0, 1.3]) if gain == "many" else gain
    settings = {"n_steps": 40, "n_warmup": 10, **settings}
    dense = tanh_map(weight, gain)
    expected = lyapunov_spectrum(dense, state, **settings).exponents
    others = [lyapunov_spectrum(otherwise_rounded(dense, seed), state, **settings).exponents for seed in range(3)]
    alive = torch.isfinite(expected)
    moved = max(float((other - expected)[alive].abs().max()) for other in others)
    found = lyapunov_spectrum(tanh_map(weight.to_sparse(), gain), state, **settings).exponents
    assert moved < 1e-6, "this network keeps too few digits for the comparison to mean something"
    torch.testing.assert_close(found, expected, rtol=0, atol=FACTOR * moved + rounding(torch.float64, 8))


@pytest.mark.parametrize("lead", [(), (3,)])
def test_the_trajectory_is_the_same_for_every_k_and_method(lead):
    step, state = tanh_map(connections(gain=2.5).to_sparse()), random(*lead, N, seed=1)
    expected = state
    for _ in range(60):
        expected = step(expected)
    for settings in SETTINGS:
        assert torch.equal(lyapunov_spectrum(step, state, n_steps=60, **settings).state, expected)


@pytest.mark.parametrize("jvp", ["by PyTorch", "by hand"])
@pytest.mark.parametrize("lead", [(), (3,)])
def test_exponents_have_gradients_by_state_and_gain(lead, jvp):
    weight, gradients = connections(empty=False), []
    for matrix in (weight, weight.to_sparse()):
        state = random(*lead, N, seed=1).requires_grad_()
        gain = torch.full(lead, 1.2, dtype=torch.float64, requires_grad=True)
        step = tanh_map(matrix, gain)
        own = step.jvp if jvp == "by hand" and matrix.is_sparse else None
        found = finite_time_exponents(step, state, n_steps=4, k=3, create_graph=True, jvp=own)
        gradients.append(torch.autograd.grad(found.sum(), (state, gain)))
    for found, expected in zip(*reversed(gradients), strict=True):
        # A QR of leading columns whose growth differs by factors of a few, four times; each of N rows.
        torch.testing.assert_close(found, expected, **within(expected, 4 * N * N, 10.0))


def test_derivatives_of_every_order_and_direction_are_those_of_the_dense_map():
    weight, state = connections(), random(N, seed=1)
    sparse, dense = tanh_map(weight.to_sparse()), tanh_map(weight)
    for derive in (torch.func.jacrev, torch.func.jacfwd, lambda f: torch.func.hessian(lambda x: f(x).sum())):
        expected = derive(dense)(state)
        torch.testing.assert_close(derive(sparse)(state), expected, **within(expected, N * N, 10.0))
    states = random(N, 5, seed=3)
    following = torch.func.vmap(sparse, in_dims=1, out_dims=1)(states)
    torch.testing.assert_close(following, torch.tanh(weight @ states), **within(following, N, 10.0))
    by_pytorch = lyapunov_spectrum(lambda x: sparse(x), state, n_steps=20, k=3).exponents
    by_hand = lyapunov_spectrum(sparse, state, n_steps=20, k=3).exponents
    torch.testing.assert_close(by_pytorch, by_hand, **within(by_hand, 20 * N, 10.0))


def test_covariant_vectors_are_carried_into_each_other():
    weight = connections()
    found = covariant_vectors(tanh_map(weight.to_sparse_csr()), random(N, seed=1), n_steps=5, k=3, n_warmup=50, n_after=50)
    slope = 1 - found.states[1:].square()
    moved = slope.unsqueeze(-1) * (weight @ found.vectors[:-1])
    cosine = torch.nn.functional.cosine_similarity(moved, found.vectors[1:], dim=-2).abs()
    torch.testing.assert_close(cosine, torch.ones_like(cosine), rtol=0, atol=rounding(torch.float64, N))


class NothingLarge(TorchDispatchMode):
    """Sees every dense tensor that PyTorch makes."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided:
                self.largest = max(self.largest, tensor.numel())
        return made


@pytest.mark.parametrize("settings", [{"k": 1}, {"k": 10}, {"k": 10, "history": False, "qr_every": "auto"}])
def test_nothing_of_the_size_of_a_dense_matrix_is_made(settings):
    n = 400
    begins, places = 2 * torch.arange(n + 1), torch.randint(0, n, (2 * n,), generator=seeded())
    places = places.view(n, 2).sort(-1)[0]
    places[:, 1] += (places[:, 0] == places[:, 1]).long()
    sparse = torch.sparse_csr_tensor(begins, (places % n).sort(-1)[0].flatten(), random(2 * n), (n, n), check_invariants=True)
    with NothingLarge() as seen:
        lyapunov_spectrum(tanh_map(sparse), random(3, n), n_steps=20, **settings)
    assert n <= seen.largest <= 3 * n * 10 * 3  # tangents of three systems, and their copies in a stack


def test_what_pytorch_cannot_multiply_is_refused_in_words():
    hybrid = torch.sparse_coo_tensor(torch.tensor([[0, 2]]), torch.ones(2, 3), (3, 3), check_invariants=True)
    with pytest.raises(ValueError, match=r"weight: got a tensor of layout torch.sparse_coo .*give weight.to_dense\(\)"):
        tanh_map(hybrid)
    with pytest.raises(ValueError, match=r"weight: got a sparse tensor of torch.float16 on cpu.*weight.float\(\)"):
        tanh_map(torch.eye(3).half().to_sparse())
    with pytest.raises(ValueError, match=r"weight: got \(3, 3\) of torch.int64, expected a floating-point tensor"):
        tanh_map(torch.eye(3).long().to_sparse())


def test_a_build_without_a_product_for_one_vector_uses_that_for_many():
    weight, state = connections(), random(N, seed=1)
    product = SparseProduct(weight.to_sparse_csr())
    assert product._alone
    product._alone = False
    torch.testing.assert_close(product(state), weight @ state, **within(state, N, 10.0))


def test_that_sparse_tensors_are_in_beta_is_not_for_the_user_to_hear():
    """In a process of its own, as PyTorch says it once."""
    code = (
        "import torch, warnings; from salnb.lyapunov.maps import tanh_map; before = list(warnings.filters); "
        "step = tanh_map(torch.eye(3).to_sparse()); x = torch.ones(3, requires_grad=True); step(x).sum().backward(); "
        "step.jvp(x, torch.eye(3)); assert warnings.filters == before"
    )
    told = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True)
    assert told.returncode == 0 and told.stderr == "", told.stderr
