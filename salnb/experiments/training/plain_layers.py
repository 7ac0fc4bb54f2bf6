"""Plain deep networks of ``nn.Linear``: as PyTorch starts them, after a line of Glorot or He, or after SAL; their training."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ...common.arguments import check_sizes, one_of
from ...common.denormals import flushed_denormals
from ...networks.deep import DeepNet
from ...sal.optimizer import SAL
from ...sal.pretrain import sal_pretrain
from ..tasks.drawing import Batch, draw_integers

MODULES = {"tanh": nn.Tanh, "relu": nn.ReLU}
# What a line does to the weight of every nn.Linear. The biases stay as PyTorch has drawn them.
LINES = {
    "default": lambda weight: None,
    "Xavier 1": nn.init.xavier_uniform_,
    "Xavier 5/3": lambda weight: nn.init.xavier_uniform_(weight, gain=nn.init.calculate_gain("tanh")),
    "He": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
}


def plain_layers(activation: str, line: str, seed: int, *, depth: int = 30, width: int = 64, n_in: int = 64, n_out: int = 10):
    """The network as a reader writes it, an ``nn.Sequential`` of ``nn.Linear`` and activations, and a line over its weights.

    Args:
        activation: "tanh" or "relu". line: "default", "Xavier 1", "Xavier 5/3" (PyTorch's gain for tanh) or "He".
        seed: of PyTorch's global generator, whose state is put back. depth: hidden layers. width, n_in, n_out: neurons.

    Raises:
        ValueError: an unknown activation or line, a size below 1.

    Example:
        >>> net = plain_layers("tanh", "default", 0, depth=3)
        >>> len(net), bool(net[0].weight.abs().max() <= 1 / 8)  # PyTorch draws within 1 / √(number of inputs)
        (7, True)
    """
    one_of("activation", activation, tuple(MODULES))
    one_of("line", line, tuple(LINES))
    check_sizes(depth=depth, width=width, n_in=n_in, n_out=n_out)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: list[nn.Module] = []
        for i in range(depth):
            parts += [nn.Linear(width if i else n_in, width), MODULES[activation]()]
        net = nn.Sequential(*parts, nn.Linear(width, n_out))
        for layer in net:
            if isinstance(layer, nn.Linear):
                LINES[line](layer.weight)
    return net


@torch.no_grad()
def side_by_side(nets: list[nn.Sequential], activation: str) -> DeepNet:
    """Networks of ``plain_layers`` as the replicas of one ``DeepNet``, which computes them in one product per layer."""
    layers = [[layer for layer in net if isinstance(layer, nn.Linear)] for net in nets]
    first, depth = layers[0], len(layers[0]) - 1
    n_out, width = first[-1].weight.shape
    joined = DeepNet(first[0].in_features, width, n_out, depth, gain=1.0, replicas=(len(nets),), activation=activation)
    for place, *those in zip([*joined.hidden, joined.readout], *layers, strict=True):
        place.weight.copy_(torch.stack([layer.weight for layer in those]))
        place.bias.copy_(torch.stack([layer.bias for layer in those]))
    return joined


def shares_right(net: DeepNet, images: Tensor, labels: Tensor) -> list[float]:
    """Share of these images (n, 64) that each network classifies right (R,)."""
    with torch.no_grad():
        return (net(images).argmax(-1) == labels).double().mean(-1).tolist()


def start_plain_layers(
    images: Tensor, *, activation: str, line: str, sal: bool, seeds: list[int], depth: int = 30, passes: int = 800,
    batch: int = 32,
) -> tuple[DeepNet, dict]:  # fmt: skip
    r"""Plain networks as PyTorch starts them, or after a line over their weights, or after SAL; nothing has been learned yet.

    Args:
        images: (n, n_in), without labels. activation, line: as of ``plain_layers``. seeds: one for each network.
        sal: SAL before learning, with ``average="rms"`` and all else at its defaults, for so many ``passes`` over ``batch``
            images each. depth: hidden layers.

    Returns:
        The networks as replicas, and for each "log_sensitivity" (mean over layers 2 … depth, in nats per layer) and
        "below_target" (share of neurons; with SAL only), and "seconds_start" of all of them together.

    Raises:
        ValueError: an unknown activation or line, a size below 1.
    """
    check_sizes(passes=passes, batch=batch)
    began = time.perf_counter()
    nets = [plain_layers(activation, line, seed, depth=depth, n_in=images.shape[-1]) for seed in seeds]
    net, below = side_by_side(nets, activation), {}
    watch = SAL(net, average="rms")
    if sal:
        draw = batches(seeds, batch, len(images))
        history = sal_pretrain(net, lambda: images[draw()], watch, steps=passes)
        below = {"below_target": history["below_target"][-1].mean(0).tolist()}
    seconds = time.perf_counter() - began
    with torch.no_grad():
        watch.discard()
        net(images[:256])
        found = watch.log_sensitivity().double().mean(0).tolist()
    watch.detach()
    return net, {"log_sensitivity": found, **below, "seconds_start": seconds}


def train_plain_layers(
    net: DeepNet, train: Batch, test: Batch, *, lr: float, seeds: list[int], steps: int = 600, batch: int = 32
) -> dict:
    r"""Trains plain networks with Adam at a constant rate, and counts what they classify right.

    Args:
        net: the networks as replicas (R,), which are changed. train, test: images (n, n_in) and labels (n,). lr: of Adam.
        seeds: of the batches, one for each network. steps: learning steps, each over ``batch`` images of the training set.

    Returns:
        For each network "accuracy" on the test images and "train_loss", the mean over the last tenth of the steps, in nats; and
        "seconds_learning" of all of them together.

    Raises:
        ValueError: a size below 1.
    """
    check_sizes(steps=steps, batch=batch)
    (images, labels), replicas, began = train, len(seeds), time.perf_counter()
    draw, kept, last = batches([seed + 1 for seed in seeds], batch, len(labels)), torch.zeros(replicas), max(steps // 10, 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr, fused=True)
    with flushed_denormals():  # gradients that vanish
        for step in range(steps):
            chosen = draw()
            losses = F.cross_entropy(net(images[chosen]).flatten(0, 1), labels[chosen].flatten(), reduction="none")
            losses = losses.view(replicas, batch).mean(-1)
            optimizer.zero_grad()
            losses.sum().backward()  # each network has its own parameters, and Adam works on each number by itself
            optimizer.step()
            if step >= steps - last:
                kept += losses.detach() / last
    seconds = time.perf_counter() - began
    return {"accuracy": shares_right(net, *test), "train_loss": kept.tolist(), "seconds_learning": seconds}


def batches(seeds: list[int], batch: int, n: int) -> Callable[[], Tensor]:
    """A function that draws the places (R, batch) of the next samples; a network of one seed sees the same whatever its start."""
    own = [torch.Generator().manual_seed(seed) for seed in seeds]
    return lambda: torch.stack([draw_integers((batch,), n, generator) for generator in own])



def seconds_alone(images: Tensor, *, activation: str, seed: int, passes: int = 800, batch: int = 32) -> dict:
    """How long SAL takes to find the start of one network as its reader has it, an ``nn.Sequential``: "seconds_start"."""
    net, draw = plain_layers(activation, "default", seed, n_in=images.shape[-1]), batches([seed], batch, len(images))
    began = time.perf_counter()
    sal_pretrain(net, lambda: images[draw()[0]], SAL(net, average="rms"), steps=passes)
    return {"seconds_start": time.perf_counter() - began}
