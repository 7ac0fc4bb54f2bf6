r"""Finite-time Lyapunov exponents: the singular values of the product of Jacobians over so many steps.

A QR run from some frame says how fast *that frame* has grown; over few steps this depends on where the frame pointed at
first. The singular values σ₁ ≥ σ₂ ≥ … of the product P = J_T … J_1 do not. P itself is never formed as numbers of one size:
over 300 steps its singular values may lie hundreds of decades apart. With QR steps along the way P = Q M, where M is a
product of triangles, and M is kept as rows b_i of length 1 beside their logarithmic lengths l_i, m_i = exp(l_i) b_i.
Rotations among the rows that make them orthogonal (Jacobi's method, from one side) leave the singular values as the lengths
of the rows. As the rotations work on the b_i and on differences of the l_i, small singular values are as exact as large ones:
what limits them is the rounding of each step's own tangents, as if every Jacobian had been off by an eps of its size.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..common.arguments import check_integers
from ..common.denormals import flushed_denormals
from .differences import Draws
from .differentiable import differentiable_logs
from .exponents import as_drive, check_run, same_shape, warn_of_noise
from .orthogonalization import NOISE, disagreement
from .tangents import automatic_tangent_step, tangent_step_of

SWEEPS = 100  # of rotations over all pairs of rows at most; networks of 24 to 200 units took 9 to 15

Graded = tuple[Tensor, Tensor]  # rows (..., N, N) of length 1 and the logs (..., N) of what their lengths really are


def finite_time_exponents(
    step: Callable, state: Tensor, *, n_steps: int, k: int | None = None, inputs: Tensor | None = None, dt: float = 1.0,
    jvp: Callable | str | None = None, create_graph: bool = False, window: int | None = None,
) -> Tensor:  # fmt: skip
    r"""Finite-time Lyapunov exponents: how fast the directions grow that grow most over just these steps.

    .. math:: \lambda_i(T) = \frac{1}{T\,dt} \log \sigma_i\big(J_T \cdots J_1\big)

    They need no frame, no warm-up and no averaging, and are exact for the steps given. Over many steps they approach the Lyapunov
    exponents of ``lyapunov_spectrum``, the first one from above.

    Args:
        step, inputs, dt, jvp: as for ``lyapunov_spectrum``; inputs (n_steps, ...).
        state: (..., N), where the first step starts; leading dimensions are independent systems.
        n_steps: T. k: number of leading exponents, default all N. The cost is that of all N: N tangents, a QR
            decomposition and a product of two matrices a step.
        create_graph: the result has a graph: its gradient by the parameters that ``step`` uses, by the state and the inputs. Of
            the leading k only; a tangent step ``jvp`` must hand it on, too. A direction that is lost (−∞) has the gradient 0.
        window: with ``create_graph``, gradients end after so many steps, as in truncated backpropagation through time, and the
            memory is that of one window. None: they go through all steps.

    Returns:
        (..., k), descending, in nats per unit time, float64. −∞ where the product has lost a direction; NaN where the trajectory
        leaves the finite numbers.

    Raises:
        ValueError: as ``lyapunov_spectrum``, a window without ``create_graph``. RuntimeError: the rotations did not end, which
        has not been seen; nothing that ``step`` uses asks for a gradient.

    Source: the definition of the singular values of a product; one-sided Jacobi rotations keep the relative accuracy of graded
    matrices (Demmel and Veselić, SIAM Journal on Matrix Analysis and Applications 13, 1992). Gradients as gradient flossing
    needs them (Engelken, arXiv 2312.17306).

    Example:
        >>> matrix = torch.tensor([[1.0, 5.0], [0.0, 1.0]], dtype=torch.float64)  # no growth in the long run, but in one step
        >>> finite_time_exponents(lambda x: x @ matrix.T, torch.zeros(2, dtype=torch.float64), n_steps=1)
        tensor([ 1.6472, -1.6472], dtype=torch.float64)
    """
    k = state.shape[-1] if k is None and isinstance(state, Tensor) and state.ndim else k
    inputs = as_drive(inputs, state)
    check_run(state, n_steps, k, 0, 1, inputs, dt, "householder")
    n_steps, k = int(n_steps), int(k)
    if window is not None and not create_graph:
        raise ValueError(f"window: got {window!r} without create_graph=True; only gradients are cut")
    if window is not None:
        check_integers(window=(window, 1))
    if create_graph and isinstance(jvp, str):
        raise ValueError(f"jvp: got {jvp!r} with create_graph=True; a gradient needs a step that PyTorch can differentiate")
    given = step
    step = getattr(step, "frozen", lambda: step)()
    drive = [()] * n_steps if inputs is None else [(u,) for u in inputs.unbind(0)]
    with torch.no_grad(), flushed_denormals():
        frame = torch.eye(state.shape[-1], dtype=state.dtype, device=state.device).expand(*state.shape, -1)
        advance = tangent_step_of(step, jvp, state, frame, drive)
        (rows, logs), dead, noisy, escaped = product_of_triangles(advance, state, drive)
        apart = escaped[..., None]  # systems that have no exponents must not stop the rotations of the others
        rows = torch.where(apart.unsqueeze(-1), torch.eye(rows.shape[-1], dtype=rows.dtype, device=rows.device), rows)
        vectors, logs = orthogonalized(rows, logs.masked_fill(apart, 0.0))
        logs, order = logs.sort(-1, descending=True)
        place = torch.arange(logs.shape[-1], 0, -1, device=logs.device)
        if bool(noisy.any()):
            noise = place <= (dead + noisy).unsqueeze(-1)
            logs = logs.masked_fill(noise, torch.nan)
            told = (noise & (place > dead.unsqueeze(-1)))[..., :k]
            if bool(told.any()):
                warn_of_noise(told, state.dtype, stacklevel=3)
        logs = logs.masked_fill(place <= dead.unsqueeze(-1), -torch.inf).masked_fill(apart, torch.nan)[..., :k]
    if not create_graph:
        return logs / (n_steps * dt)
    with torch.enable_grad():
        vectors = vectors.gather(-2, order.unsqueeze(-1).expand_as(vectors))[..., :k, :].mT.to(state.dtype)
        with_graph = differentiable_logs(jvp or automatic_tangent_step(given), state, vectors, drive, ~logs.isfinite(), window)
        if not with_graph.requires_grad:
            raise RuntimeError("create_graph: nothing that step uses asks for a gradient (requires_grad), or step detaches it")
        with_graph = torch.where(torch.isfinite(logs), with_graph, 0.0)
        return (logs + (with_graph - with_graph.detach())) / (n_steps * dt)


def product_of_triangles(advance: Callable, state: Tensor, drive: list[tuple]) -> tuple[Graded, Tensor, Tensor, Tensor]:
    """M of P = Q M row by row: directions of length 1 and logarithmic lengths; how many directions are dead (...), of how many
    more nothing is known (...), and which systems have left the finite numbers (...).

    A direction that depends on the others to rounding in one step is lost to the product: it goes to the end of the frame and is
    a row of zeros in M from then on, so that noise does not pass for growth, and what is lost at different steps adds up. Dead
    is what cannot be rounding: z neurons of slope 0 are z rows of zeros; the directions that a Jacobian of low rank does not
    have are lost at nearly every step. A step whose Jacobian nobody knows is also done twice, with another rounding.
    """
    n = state.shape[-1]
    frame = torch.eye(n, dtype=state.dtype, device=state.device).expand(*state.shape, -1)
    rows = frame.double()
    logs, dependent = rows.new_zeros(frame.shape[:-1]), []
    unknown, trials, escaped = hasattr(advance, "differentiates"), [], torch.zeros_like(logs[..., 0], dtype=torch.bool)
    errors = frame.new_zeros(frame.shape[:-1])
    live, unsure = torch.full_like(escaped, n, dtype=torch.long), torch.zeros_like(escaped, dtype=torch.long)
    for t, given in enumerate(drive):
        draws = Draws(state.device)
        following, moved = advance(state, frame, *given)
        if unknown and (t < 16 or t & (t - 1) == 0):
            draws.rewind()
            trials.append(disagreement(moved, advance(state, 1.1 * frame, *given)[1] / 1.1))
        same_shape(state, following)
        escaped = escaped | ~torch.isfinite(following).all(-1) | ~torch.isfinite(moved).flatten(-2).all(-1)
        frame, triangle = torch.linalg.qr(moved)
        share, turned = rounding_of(moved, triangle, errors)
        noise, alive = ~(share < 1), torch.arange(n, device=state.device) < live.unsqueeze(-1)
        dependent.append(noise.sum(-1))
        rank = (moved != 0).any(-1).sum(-1)
        if bool((((noise & alive).any(-1) | (rank < live)) & ~escaped).any()):
            frame, triangle, turned, left, zeros = without_noise(moved, triangle, errors, alive, rank)
            left = torch.where(escaped, live, left)
            unsure, live = unsure + (live - left - zeros).clamp_min(0), left
        rows, logs = multiplied(triangle.double(), rows, logs)
        state, errors = following, torch.where(turned < 1, turned, 0.0)  # what is lost is a row of zeros
    often = torch.stack(dependent).double().quantile(0.25, dim=0) >= 1  # three steps of four: a threshold may be missed once
    unsure = torch.minimum(unsure, n - live)
    unsure = unsure if unknown else unsure.masked_fill(often, 0)
    dead = n - live - unsure
    noisy = torch.maximum((torch.stack(trials).mean(0) > NOISE).sum(-1) - dead, unsure) if trials else unsure
    return (rows, logs), dead, noisy.clamp_min(0), escaped


def rounding_of(columns: Tensor, triangle: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    r"""How far rounding may have moved each column's diagonal (..., k) in R, and so its direction in Q, as a share of it; and the
    part of this that is this step's own.

    .. math:: \rho_j = \sum_k \left(4 \sqrt N \varepsilon + \rho'_k\right) |A_k|\, |(R^{-1})_{kj}|

    The columns before it enter with their coefficients, which are large where they nearly depend on each other themselves, and
    with the part ρ' by which the step ``before`` had turned them. The roundings of sums of N products add up as √N, so that a
    quarter of ρ is what to expect: a column with ρ ≥ 1 may be nothing but a combination of the others.
    """
    size = torch.linalg.vector_norm(columns, dim=-2, keepdim=True)
    scaled = triangle / torch.where(size > 0, size, 1.0)
    unit = 4 * columns.shape[-2] ** 0.5 * torch.finfo(columns.dtype).eps
    diagonal = scaled.diagonal(dim1=-2, dim2=-1).abs()
    scaled = scaled + torch.diag_embed(torch.where(diagonal < unit**2, unit**2, 0.0))  # zeros have no inverse
    identity = torch.eye(scaled.shape[-1], dtype=scaled.dtype, device=scaled.device).expand_as(scaled)
    inverse = torch.linalg.solve_triangular(scaled, identity, upper=True)
    own = unit * inverse.abs().sum(-2)
    return own + (before.unsqueeze(-2) @ inverse.abs()).squeeze(-2), own


def without_noise(
    moved: Tensor, triangle: Tensor, errors: Tensor, alive: Tensor, rank: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Q and R of tangents some of which depend on the others, with rows of zeros in R for these, whatever was rounded; how far
    rounding may have turned Q's columns (..., k); how many are left (...); and how many of the lost are exactly so, by their
    zeros or because no more rows than ``rank`` have entries.

    These go to the end, behind all that are left, the one that depends least on what is left before the others. A column may
    look lost only because another stood before it: so this is done until their order is the right one.
    """
    n, place = moved.shape[-1], torch.arange(moved.shape[-1], device=moved.device)
    stays, order = alive & (rounding_of(moved, triangle, errors)[0] < 1), place.expand(alive.shape)
    part, standing = triangle.diagonal(dim1=-2, dim2=-1).abs(), alive
    for turn in range(n + 1):
        size = torch.linalg.vector_norm(moved, dim=-2).gather(-1, order)
        part = torch.where(stays, torch.inf, torch.where(standing, part / torch.where(size > 0, size, 1.0), -1.0))
        ranked = part.argsort(dim=-1, descending=True, stable=True)
        if turn and bool((ranked == place).all()):
            break
        order = order.gather(-1, ranked)
        columns, standing = moved.gather(-1, order.unsqueeze(-2).expand_as(moved)), alive.gather(-1, order)
        frame, triangle = torch.linalg.qr(columns)
        share, turned = rounding_of(columns, triangle, errors.gather(-1, order))
        stays = standing & (share < 1)
        outside = (place >= stays.sum(-1, keepdim=True)).unsqueeze(-1)  # what the columns that stay do not reach
        part = torch.linalg.vector_norm(triangle * outside, dim=-2)
    left = torch.minimum(stays.sum(-1), rank)
    certain = torch.maximum(((triangle.diagonal(dim1=-2, dim2=-1) == 0) & standing).sum(-1), alive.sum(-1) - rank)
    triangle = triangle.masked_fill((place >= left.unsqueeze(-1)).unsqueeze(-1), 0.0)
    triangle = torch.empty_like(triangle).scatter_(-1, order.unsqueeze(-2).expand_as(triangle), triangle)
    return frame, triangle, turned, left, certain


def multiplied(triangle: Tensor, rows: Tensor, logs: Tensor) -> Graded:
    """A triangle times such a product: each new row at the scale of the largest row that goes into it."""
    present = triangle != 0
    scale = torch.where(present, logs.unsqueeze(-2), -torch.inf).amax(-1, keepdim=True)  # (..., N, 1)
    known = torch.isfinite(scale)
    factor = torch.where(present & known, (logs.unsqueeze(-2) - torch.where(known, scale, 0.0)).exp(), 0.0)
    return normalized((triangle * factor) @ rows, scale.squeeze(-1))


def normalized(rows: Tensor, logs: Tensor) -> Graded:
    """The rows at length 1; a row of zeros stays one, with the logarithmic length −∞."""
    length = torch.linalg.vector_norm(rows, dim=-1)
    return rows / torch.where(length > 0, length, 1.0).unsqueeze(-1), torch.where(length > 0, logs + length.log(), -torch.inf)


def orthogonalized(rows: Tensor, logs: Tensor) -> Graded:
    """Rows made orthogonal by rotations among them: their lengths are then the singular values, whatever their range.

    In every round all rows are rotated in pairs, and N − 1 rounds meet all pairs once.
    """
    n = rows.shape[-2]
    rounds = [torch.tensor(pairs, device=rows.device).unbind(-1) for pairs in all_pairs(n)]
    enough = 4 * n * torch.finfo(rows.dtype).eps
    for _ in range(SWEEPS):
        largest = 0.0
        for first, second in rounds:
            pair = rotated(rows[..., first, :], rows[..., second, :], logs[..., first], logs[..., second])
            (one, other), (log_one, log_other), cosine = pair
            rows = rows.index_copy(-2, first, one).index_copy(-2, second, other)
            logs = logs.index_copy(-1, first, log_one).index_copy(-1, second, log_other)
            largest = torch.maximum(cosine.abs().amax(), torch.as_tensor(largest, dtype=rows.dtype, device=rows.device))
        if not rounds or not bool(largest > enough):
            return rows, logs
    raise RuntimeError(
        f"step: after {SWEEPS} sweeps of rotations the rows of the product of Jacobians are not orthogonal (largest cosine "
        f"{float(largest):.1e}); use fewer steps, or float64"
    )


def rotated(a: Tensor, b: Tensor, log_a: Tensor, log_b: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]:
    r"""Pairs of rows after the rotation that makes them orthogonal, their logarithmic lengths, and the cosine from before.

    .. math:: \tan 2\varphi = \frac{2 g}{e^{\delta} - e^{-\delta}}, \qquad g = a \cdot b,\quad \delta = l_a - l_b

    for the longer row a. The tangent of the rotation, times exp δ, has a finite limit where the lengths differ by many decades.
    """
    swap = (log_b > log_a).unsqueeze(-1)
    long, short = torch.where(swap, b, a), torch.where(swap, a, b)
    log_long, log_short = torch.maximum(log_a, log_b), torch.minimum(log_a, log_b)
    cosine = (long * short).sum(-1)
    ratio = torch.where(torch.isfinite(log_short), (log_short - log_long).exp(), 0.0)  # exp(−δ) in [0, 1]
    half = (1 - ratio.square()) / 2
    below = half + (half.square() + (cosine * ratio).square()).sqrt()
    grown = torch.where(below > 0, cosine / torch.where(below > 0, below, 1.0), 0.0)  # tan φ · exp δ
    tangent = grown * ratio
    cos = (1 + tangent.square()).rsqrt()
    longer = normalized(cos.unsqueeze(-1) * (long + (tangent * ratio).unsqueeze(-1) * short), log_long)
    shorter = normalized(cos.unsqueeze(-1) * (short - grown.unsqueeze(-1) * long), log_short)
    rows = torch.where(swap, shorter[0], longer[0]), torch.where(swap, longer[0], shorter[0])
    flat = swap.squeeze(-1)
    return rows, (torch.where(flat, shorter[1], longer[1]), torch.where(flat, longer[1], shorter[1])), cosine


def all_pairs(n: int) -> list[list[tuple[int, int]]]:
    """Rounds of a tournament: in each, everybody meets one other, and after all rounds everybody has met everybody.

    >>> all_pairs(4)
    [[(0, 3), (1, 2)], [(0, 2), (3, 1)], [(0, 1), (2, 3)]]
    >>> sum(len(pairs) for pairs in all_pairs(7)) == 7 * 6 // 2
    True
    """
    players = list(range(n + n % 2))
    rounds = []
    for _ in range(len(players) - 1):
        met = zip(players[: len(players) // 2], reversed(players[len(players) // 2 :]), strict=True)
        rounds.append([pair for pair in met if max(pair) < n])
        players = [players[0], players[-1], *players[1:-1]]
    return [pairs for pairs in rounds if pairs]
