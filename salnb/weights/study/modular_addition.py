"""Grokking: networks that add modulo a prime number first know the pairs that they saw by heart, and much later the sum."""

import math

import torch
from torch import Tensor, nn

from ...common.denormals import flushed_denormals
from ...networks.linear import normal
from ..rank import effective_rank
from .data import Samples, addition

EVERY = 20  # steps between two looks


class AdditionNet(nn.Module):
    r"""A shared embedding, the sum of the two, one hidden layer of ReLU units and a readout, R times side by side.

    .. math:: \text{logits} = U \operatorname{relu}(W (e_a + e_b))
    """

    def __init__(self, p: int, replicas: int, generator: torch.Generator, *, embedding: int = 128, width: int = 256) -> None:
        super().__init__()
        draw = lambda rows, columns, std: nn.Parameter(std * normal((replicas, rows, columns), generator, None, None))  # noqa: E731
        self.embedding = draw(p, embedding, 1 / math.sqrt(embedding))
        self.hidden = draw(width, embedding, 1 / math.sqrt(3 * embedding))
        self.readout = draw(p, width, 1 / math.sqrt(3 * width))

    def forward(self, pairs: Tensor) -> Tensor:
        """Logits (R, n, p) of pairs (R, n, 2)."""
        # W is applied to the p embeddings, not to the n sums of two of them, which is the same and costs n/p times less.
        parts = self.embedding @ self.hidden.mT
        row = torch.arange(len(pairs), device=pairs.device).unsqueeze(-1)
        return torch.relu(parts[row, pairs[..., 0]] + parts[row, pairs[..., 1]]) @ self.readout.mT


def score(net: AdditionNet, samples: Samples) -> Tensor:
    """Share of right answers (R,)."""
    with torch.no_grad():
        return (net(samples.inputs).argmax(-1) == samples.labels).float().mean(-1)


def grok(
    seeds: tuple[int, int], *, share: float, steps: int, lr: float, decay: float, p: int = 59, replicas: int = 8
) -> dict[str, object]:
    """Trains on a share of all pairs with AdamW, all of them in each step; returns courses over the steps, in lists (steps, R).

    Args:
        seeds: of the pairs and of the weights. lr, decay: of AdamW, with betas 0.9 and 0.98.
    """
    pairs, weights = (torch.Generator().manual_seed(seed) for seed in seeds)
    data, net = addition(p, share, replicas, pairs), AdditionNet(p, replicas, weights)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=decay)
    found = {"steps": [], "fitted": [], "tested": [], "rank": [], "rank of the embedding": [], "norm": []}
    for step in range(steps + 1):
        with flushed_denormals():
            optimizer.zero_grad()
            logits = net(data.fit.inputs)
            if step % EVERY == 0:
                found["steps"].append(step)
                found["fitted"].append((logits.detach().argmax(-1) == data.fit.labels).float().mean(-1).tolist())
                found["tested"].append(score(net, data.test).tolist())
                found["rank"].append(effective_rank(net.hidden.detach()).tolist())
                found["rank of the embedding"].append(effective_rank(net.embedding.detach()).tolist())
                found["norm"].append(torch.linalg.matrix_norm(net.hidden.detach()).tolist())
            nn.functional.cross_entropy(logits.flatten(0, 1), data.fit.labels.flatten(), reduction="sum").div(
                data.fit.labels.shape[-1]).backward()  # fmt: skip
            optimizer.step()
    return {**found, "pairs to test": data.test.labels.shape[-1]}
