"""A small character model as people build one, pre-LayerNorm transformer blocks with shortcuts, trained with SAL or without."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from ...common.arguments import check_sizes, one_of
from ...sal.monitor import SensitivityMonitor
from ...sal.optimizer import SAL
from ...sal.pretrain import sal_pretrain
from ..tasks.drawing import draw_integers

WHEN = ("never", "before", "throughout")


class Block(nn.Module):
    """Self-attention on the past, then a layer of 4 × width GELU units, each behind a LayerNorm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_units = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.collect = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.units = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, state: Tensor) -> Tensor:
        b, t, width = state.shape
        parts = self.attend(self.before_attention(state)).view(b, t, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        state = state + self.collect(seen.transpose(1, 2).reshape(b, t, width))
        return state + self.units(self.before_units(state))


class CharacterModel(nn.Module):
    """Embeddings of characters and places, the blocks, a last LayerNorm and a readout, all as PyTorch starts them.

    Args:
        n_characters: of the alphabet. width, blocks, heads: of the blocks. context: the most characters that it sees.

    Returns:
        ``model(characters)``: whole numbers (B, T) -> scores of the character after each (B, T, n_characters).

    Example:
        >>> CharacterModel(5, width=8, blocks=1, heads=2, context=4)(torch.zeros(3, 4, dtype=torch.long)).shape
        torch.Size([3, 4, 5])
    """

    def __init__(self, n_characters: int, *, width: int = 64, blocks: int = 4, heads: int = 4, context: int = 64) -> None:
        super().__init__()
        self.character, self.place = nn.Embedding(n_characters, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.norm, self.readout = nn.LayerNorm(width), nn.Linear(width, n_characters)

    def forward(self, characters: Tensor) -> Tensor:
        places = torch.arange(characters.shape[-1], device=characters.device)
        return self.readout(self.norm(self.blocks(self.character(characters) + self.place(places))))


def windows(text: Tensor, starts: Tensor, context: int) -> tuple[Tensor, Tensor]:
    """What the model reads from each start (B, context), and the character that follows each of these."""
    taken = text[starts[:, None] + torch.arange(context + 1)]
    return taken[:, :-1], taken[:, 1:]


@torch.no_grad()
def text_loss(model: CharacterModel, text: Tensor, context: int = 64, at_once: int = 64) -> float:
    """Mean loss over a whole text (length,), in nats per character, read in windows that follow each other."""
    model.eval()
    starts, total = torch.arange(0, len(text) - context, context), 0.0
    for some in starts.split(at_once):
        seen, wanted = windows(text, some, context)
        total += F.cross_entropy(model(seen).flatten(0, 1), wanted.flatten(), reduction="sum").item()
    model.train()
    return total / (len(starts) * context)


def train_characters(
    train: Tensor, test: Tensor, n_characters: int, *, line: str = "default", sal: str = "never", average: str = "mean",
    lr: float, seed: int, passes: int = 800, steps: int = 800, batch: int = 8, **sizes: int,
) -> dict:  # fmt: skip
    r"""Trains one character model with Adam at a constant rate, with SAL or without, and measures its loss on the test text.

    Args:
        train, test: texts as whole numbers (length,) below ``n_characters``.
        line: "default" (PyTorch's start) or "Xavier" (``nn.init.xavier_uniform_`` on the weight of every ``nn.Linear``).
        sal: "never"; "before" learning, for so many ``passes``; or "throughout", a SAL step after each learning step. It watches
            what ``SAL(model)`` finds, the first layer of each pair of GELU layers, at its defaults but for ``average``.
        lr: of Adam. seed: of the weights and, whatever the start, of the batches. steps: learning steps, each over ``batch``
            windows of the training text. sizes: of the model.

    Returns:
        "loss": on the test text, in nats per character. "train_loss": mean over the last tenth of the steps.
        "log_sensitivity": of the watched layers at the start of learning and at its end, in evaluation on the same windows.
        "watched": their names. "seconds_start": of finding the start. "seconds": of all of it.

    Raises:
        ValueError: an unknown line, time or average, a size below 1.
    """
    one_of("line", line, ("default", "Xavier"))
    one_of("sal", sal, WHEN)
    check_sizes(passes=passes, steps=steps, batch=batch)
    began, context = time.perf_counter(), sizes.get("context", 64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CharacterModel(n_characters, **sizes)
        for layer in model.modules() if line == "Xavier" else ():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
    draw, few = drawing(train, batch, context, seed), train[: 16 * context].view(16, context)
    watch = None if sal == "never" else SAL(model, average=average)
    if sal == "before":
        sal_pretrain(model, lambda: draw()[0], watch, steps=passes)
        watch.detach()
    started, before = time.perf_counter() - began, sensitivities(model, few)
    optimizer, draw = torch.optim.Adam(model.parameters(), lr=lr), drawing(train, batch, context, seed + 1)
    kept, last, began = 0.0, max(steps // 10, 1), time.perf_counter()
    for step in range(steps):
        seen, wanted = draw()
        loss = F.cross_entropy(model(seen).flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if sal == "throughout":
            watch.step()
        if step >= steps - last:
            kept += loss.item() / last
    seconds, after = started + time.perf_counter() - began, sensitivities(model, few)
    return {"loss": text_loss(model, test, context), "train_loss": kept, "watched": list(before),
            "log_sensitivity": [list(before.values()), list(after.values())],
            "seconds_start": started, "seconds": seconds}  # fmt: skip


def drawing(text: Tensor, batch: int, context: int, seed: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """A function that draws the next windows of a text; one seed gives the same windows whatever the network."""
    own = torch.Generator().manual_seed(seed)
    return lambda: windows(text, draw_integers((batch,), len(text) - context, own), context)


@torch.no_grad()
def sensitivities(model: nn.Module, characters: Tensor) -> dict[str, float]:
    """Log-sensitivity of each layer that SAL would watch, by name, in nats per layer, over these windows (B, T)."""
    with SensitivityMonitor(model) as monitor:
        model(characters)
    return {row["layer"]: row["log_sensitivity"] for row in monitor.summary()}
