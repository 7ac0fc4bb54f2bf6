"""What a step keeps of the passes for a layer by rows: the inputs themselves, of very many a random part."""

from dataclasses import dataclass

import torch
from torch import Tensor

AT_MOST = 2**22  # numbers that are kept for one layer and step

Portion = tuple[Tensor, Tensor | None]  # inputs (S, ...), and a mask (S, places...) that is True where a sample counts


@dataclass(frozen=True)
class Kept:
    """Portions of inputs. Each sample has been kept with probability 2^-halved, whatever the others were."""

    portions: tuple[Portion, ...]
    seen: int  # samples in all
    halved: int = 0

    def __add__(self, other: "Kept") -> "Kept":
        halved, seen = max(self.halved, other.halved), self.seen + other.seen
        one, two = (halve(kept.portions, halved - kept.halved, seen + k) for k, kept in enumerate((self, other)))
        return limited(Kept((*one, *two), seen, halved))

    @property
    def count(self) -> Tensor:
        """How many samples count (1,)."""
        first = self.portions[0][0]
        counts = [torch.tensor(len(x), device=x.device) if mask is None else mask.sum() for x, mask in self.portions]
        return torch.stack(counts).sum().view(1) if counts else first.new_zeros(1)

    def finite(self) -> bool:
        """Whether the inputs of all samples that count are finite."""
        return all(bool((x if mask is None else x[mask.flatten(1).any(1) if mask.ndim > 1 else mask]).isfinite().all())
                   for x, mask in self.portions)  # fmt: skip


def halve(portions: tuple[Portion, ...], times: int, seed: int) -> tuple[Portion, ...]:
    """Each sample with probability 2^-times, by numbers of our own."""
    if not times:
        return portions
    generator, found = torch.Generator().manual_seed(seed), []
    for x, mask in portions:
        keep = (torch.rand(len(x), generator=generator) < 0.5**times).to(x.device)
        found.append((x[keep], None if mask is None else mask[keep]))
    left = tuple(portion for portion in found if len(portion[0]))
    return left or tuple((x[:1], None if mask is None else mask[:1]) for x, mask in portions[:1])


def limited(kept: Kept) -> Kept:
    """The same with at most ``AT_MOST`` numbers, but for one sample that is larger."""
    while sum(x.numel() for x, _ in kept.portions) > AT_MOST and sum(len(x) for x, _ in kept.portions) > 1:
        kept = Kept(halve(kept.portions, 1, kept.seen + 31 * kept.halved), kept.seen, kept.halved + 1)
    return kept
