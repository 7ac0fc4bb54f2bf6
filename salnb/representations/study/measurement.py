"""What is measured on every network of the comparison, one number per replica: spectra, accuracy, robustness, smoothness."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..attacks import fgsm, gaussian_noise, masked_gradients, pgd, sign_search
from ..covariance_spectrum import covariance_spectrum
from ..hidden_net import HiddenNet
from ..jacobians import jacobian_map, jacobian_squared_norm
from ..power_law import power_law
from ..robustness import scan
from .data import Samples, Split

COARSE, HALVINGS = 1.5, 4  # the grid of ε rises by a factor of 1.5; its step around the critical ε is then halved four times
WHITE = 4000  # images of white noise
RANK = 1e-10  # eigenvalues of at most this share of the largest do not count: a layer of 16 components has 16 others
ATTACKED = 250  # samples of each replica
SEARCHED = 40  # samples of each replica for the search without gradients, which takes many passes
PLANES, HALF, POINTS = 8, 1.0, 24  # Jacobian maps per replica, half their width in norms of the image, points along a side


def critical_length(net: HiddenNet, samples: Samples, attack: Callable, smallest: float, largest: float) -> Tensor:
    """‖Δx‖₂ (..., B) where an attack first flips the class, up to 2.6 % too large: on a coarse grid, whose last step is halved.

    0 where the class is wrong without an attack, ∞ where nothing flips it. Halving takes for granted that an attack that
    succeeds with ε also does with a little more; the coarse grid does not.

    Args:
        smallest, largest: of the coarse grid, as shares of the root mean square of the images' entries.
    """
    x, y = samples
    unit = x.square().mean().sqrt().item()
    grid = [unit * smallest * COARSE**k for k in range(64) if smallest * COARSE**k <= largest * COARSE]
    high, length = scan(net, x, y, attack, grid)
    found = torch.isfinite(high) & (high > 0)
    high = torch.where(found, high, high.new_full((), grid[0]))
    low = high / COARSE
    for _ in range(HALVINGS):
        middle = (low * high).sqrt()
        flips, nearer = scan(net, x, y, attack, middle.unsqueeze(0))
        flips = torch.isfinite(flips)
        length = torch.where(found & flips, nearer, length)
        low, high = torch.where(flips, low, middle), torch.where(flips, middle, high)
    return length


def median_of(lengths: Tensor, chosen: Tensor) -> list[float]:
    """Median over the chosen samples of each replica; ∞ counts as the largest."""
    return [row[keep].median().item() if bool(keep.any()) else 0.0 for row, keep in zip(lengths, chosen, strict=True)]


def robustness(
    net: HiddenNet, samples: Samples, generator: torch.Generator, *, search: bool = False, box: tuple[float, float] | None = None
) -> dict:
    """Critical lengths of the attacks: medians over the samples that are classified right, and over all with 0 for the others.

    The attacks: noise of a direction fixed for each sample, FGSM, and PGD of 20 steps from two starts.

    Args:
        search: also a search without gradients over the first samples, and PGD over the same ones, from two starts and from five.
        box: PGD once more, with images clamped to it.
    """
    x, y = samples
    direction = torch.randn(x.shape, generator=generator)
    strong = partial(pgd, steps=20, restarts=2, generator=generator)
    plans = {"noise": (samples, partial(gaussian_noise, direction=direction), 0.02, 20.0),
             "fgsm": (samples, fgsm, 0.002, 10.0), "pgd": (samples, strong, 0.002, 10.0)}  # fmt: skip
    if search:
        few = Samples(x[..., :SEARCHED, :], y[..., :SEARCHED])
        without = partial(sign_search, queries=3 * x.shape[-1], generator=generator)
        plans |= {"pgd_few": (few, strong, 0.002, 10.0), "search": (few, without, 0.002, 10.0),
                  "pgd_five": (few, partial(strong, restarts=5), 0.002, 10.0)}  # fmt: skip
    if box is not None:
        plans["pgd_clamped"] = (samples, partial(strong, clamp=box), 0.002, 10.0)
    found = {}
    for name, plan in plans.items():
        lengths = critical_length(net, *plan)
        found[name], found[f"{name}_all"] = median_of(lengths, lengths > 0), median_of(lengths, lengths >= 0)
    found["masked"] = masked_gradients(net, x, y).double().mean(-1).tolist()
    return found


@torch.no_grad()
def geometry(net: HiddenNet, split: Split, generator: torch.Generator) -> dict:
    """Exponents of the hidden layer's covariance spectrum, over the judged images and over white noise, and smoothness.

    "bend": exponent of the window's second half less that of its first half; 0 for a straight line.
    "roughness": mean size of the second difference of log ‖J‖_F along planes through judged images, of the layer with its power.
    """
    x = split.judge.images
    spectrum, (first, last) = covariance_spectrum(net.pre(x)), split.window
    white = torch.randn(WHITE, x.shape[-1], generator=generator)
    rough = torch.stack([_roughness(net, x[:, i], generator) for i in range(PLANES)]).mean(0)
    return {
        **_exponents(spectrum, covariance_spectrum(net.pre(white)), first, last),
        "roughness": rough.tolist(),
        "jacobian": jacobian_squared_norm(net, x).mean(-1).sqrt().tolist(),
        "weight_norm": net.hidden_weight.square().sum((-2, -1)).sqrt().tolist(),
        "spectrum": [round(v, 4) for v in _mean_log10(spectrum)],
    }


def _exponents(spectrum: Tensor, noise: Tensor, first: int, last: int) -> dict:
    """Exponents, R² and bend over the window; nothing where a layer has fewer dimensions than the window has ranks."""
    if min(int((values > RANK * values[..., :1]).sum(-1).min()) for values in (spectrum, noise)) < last:
        return {name: [float("nan")] * len(spectrum) for name in ("alpha", "r2", "alpha_noise", "bend")}
    law, middle = power_law(spectrum, first, last), round((first * last) ** 0.5)
    bend = _slope(spectrum, middle, last) - _slope(spectrum, first, middle)
    return {"alpha": law.alpha.tolist(), "r2": law.r2.tolist(), "bend": bend.tolist(),
            "alpha_noise": power_law(noise, first, last).alpha.tolist()}  # fmt: skip


def _mean_log10(spectrum: Tensor) -> list[float]:
    """log10 of the eigenvalues, as shares of their sum, in the mean over replicas; 10^−16 stands for all that is less."""
    return (spectrum / spectrum.sum(-1, keepdim=True)).clamp_min(1e-16).log10().mean(0).tolist()


def _slope(spectrum: Tensor, first: int, last: int) -> Tensor:
    """Exponent between two ranks, by least squares; a window may be shorter than ``power_law`` allows for a statement."""
    ranks = torch.arange(first, last + 1, dtype=torch.float64).log()
    across, logs = ranks - ranks.mean(), spectrum[..., first - 1 : last].log()
    return -((logs - logs.mean(-1, keepdim=True)) * across).sum(-1) / across.square().sum()


def _roughness(net: HiddenNet, image: Tensor, generator: torch.Generator) -> Tensor:
    """Mean |second difference| of log ‖J‖_F along the rows of a random plane, whose vectors have the image's length."""
    size = image.norm(dim=-1).mean()
    u, v = (size * d / d.norm() for d in torch.randn(2, image.shape[-1], generator=generator))
    logs = jacobian_map(net, image, u, v, half=HALF, n=POINTS).clamp_min(1e-12).log()
    return logs.diff(n=2, dim=-1).abs().mean((-2, -1))


def accuracy(net: HiddenNet, samples: Samples) -> list[float]:
    """Share of the samples that are classified right."""
    with torch.no_grad():
        return (net(samples.images).argmax(-1) == samples.labels).double().mean(-1).tolist()


def measure(net: HiddenNet, split: Split, generator: torch.Generator, **options: object) -> dict:
    """All measurements of a network of replicas, as lists with one number per replica; attacks on the first ``ATTACKED`` samples.

    "select": accuracy and critical length under FGSM on the samples to select on; what is chosen by them is never judged by them.
    ``options`` are those of ``robustness``.
    """
    net = net.eval()
    chosen = critical_length(net, split.select, fgsm, 0.002, 10.0)
    attacked = Samples(split.judge.images[..., :ATTACKED, :], split.judge.labels[..., :ATTACKED])
    return {
        "accuracy": accuracy(net, split.judge),
        "select": {"accuracy": accuracy(net, split.select), "fgsm": median_of(chosen, chosen > 0)},
        **robustness(net, attacked, generator, **options),
        **geometry(net, split, generator),
    }
