"""Singular values, effective ranks and alignments of a model's weights, recorded while it learns."""

import math
import warnings
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..common.arguments import as_float, check_integers
from ..common.table import Table
from ..common.without_trace import without_trace
from .rank import computable, effective_rank_of, stable_rank_of
from .singular_vectors import aligned, singular_vectors
from .watched import Pairs, WatchedMatrix, chosen, chosen_pairs

GUESSED = ("Alignment is that with the layer registered next, where its shape fits. Where another layer reads the outputs "
           "(branches, attention), name the pairs: SpectralTracker(model, pairs=[(first, second), ...]).")  # fmt: skip


class SpectralTracker:
    r"""Records the spectrum of each weight matrix of a model, as often as ``record`` is called.

    .. math:: W = \sum_i s_i u_i v_i^\top \;\to\; s_1 \ge s_2 \ge \dots, \quad e^{H} / \min(m, n), \quad
              \tfrac1k \sum_{j \le k} |\langle u_j(W_l), v_j(W_{l + 1}) \rangle|

    Args:
        model: any module. Convolutions are looked at as ``matricize`` says, embeddings as (d, tokens), the stacked weights of
            attention and of recurrent cells as they are. In other weights of three and more dimensions the leading ones are
            replicas, as in ``DeepNet``.
        parameters: names of the weights, as in ``model.named_parameters()``; default: all with two dimensions or more, but not
            biases and normalizations. A parametrized weight has the name that the layer uses, such as "0.weight".
        pairs: pairs of names, the second reading the outputs of the first, whose alignment is recorded; default: neighbors in
            the order of registration whose shapes fit.
        k: how many singular vectors the alignment compares.

    Raises:
        TypeError: no module. ValueError: a model without a matrix, an unknown name, pairs that do not fit, k below 1.

    Source: arXiv 2408.11804, section 3. Of a convolution's right vectors the alignment uses the part at the kernel's centre.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        >>> tracker = SpectralTracker(model)
        >>> tracker.record(0)
        >>> tracker.singular_values("0.weight").shape, tracker.effective_rank("2.weight").shape
        (torch.Size([1, 8]), torch.Size([1]))
        >>> [(row["step"], row["matrix"], row["next"]) for row in tracker.table()]
        [(0, '0.weight', '2.weight'), (0, '2.weight', '')]
    """

    def __init__(
        self, model: nn.Module, parameters: Iterable[str] | None = None, *, pairs: Pairs | None = None, k: int = 10
    ) -> None:
        check_integers(k=(k, 1))
        self.model, self.k = model, int(k)
        with torch.no_grad() if not isinstance(model, nn.Module) else without_trace(model):
            self._matrices = {matrix.name: matrix for matrix in chosen(model, parameters)}
            self.pairs = chosen_pairs(list(self._matrices.values()), pairs)
            self._shapes = {name: tuple(matrix.value().shape) for name, matrix in self._matrices.items()}
        self._note = GUESSED if pairs is None and self.pairs else ""
        self.steps: list[float] = []
        self._values: dict[str, list[Tensor]] = {name: [] for name in self._matrices}
        self._alignments: dict[tuple[str, str], list[Tensor]] = {pair: [] for pair in self.pairs}

    @property
    def names(self) -> list[str]:
        """The matrices that are watched."""
        return list(self._matrices)

    def record(self, step: float) -> None:
        """Looks at all matrices now.

        Weights that are not finite are recorded as NaN, with a RuntimeWarning, so that a run that diverged can be looked at.

        Args:
            step: training step or epoch, larger than the one before.

        Raises:
            ValueError: a step that is no number or not larger than the last; a weight that has changed its shape.
        """
        number = as_float(step)
        if not math.isfinite(number) or (self.steps and number <= self.steps[-1]):
            after = f" after {self.steps[-1]:g}" if self.steps else ""
            raise ValueError(f"step: got {step!r}{after}, expected a finite number, larger than the one before")
        found = {}
        with without_trace(self.model):
            for name, matrix in self._matrices.items():
                weight = computable(matrix.value().detach())
                if tuple(weight.shape) != self._shapes[name]:
                    raise ValueError(f"{name}: got shape {tuple(weight.shape)} at step {step:g}, expected {self._shapes[name]} "
                                     "as when the tracker was made; make a new one")  # fmt: skip
                found[name] = self._decomposed(name, weight, any(name in pair for pair in self.pairs))
            aligned_now = {pair: self._alignment(*pair, found) for pair in self.pairs}
        for name, (_, values, _, finite) in found.items():
            self._values[name].append(torch.where(finite, values, torch.nan).cpu())
        for pair, value in aligned_now.items():
            self._alignments[pair].append(value.cpu())
        self.steps.append(int(number) if number.is_integer() else number)

    def _decomposed(self, name: str, weight: Tensor, vectors: bool) -> tuple[Tensor | None, Tensor, Tensor | None, Tensor]:
        """Left vectors, singular values, right vectors, and for each replica whether its weights are finite (..., 1)."""
        finite = torch.isfinite(weight).flatten(-2).all(-1)
        if not bool(finite.all()):
            where = f" in {int((~finite).sum())} of {finite.numel()} replicas" if finite.ndim else ""
            warnings.warn(f"{name}: the weights are not finite{where}; recorded as NaN", RuntimeWarning, stacklevel=3)
            weight = torch.where(finite[..., None, None], weight, 0.0)
        if not vectors:
            return None, torch.linalg.svdvals(weight), None, finite.unsqueeze(-1)
        return *singular_vectors(weight), finite.unsqueeze(-1)

    def _alignment(self, first: str, second: str, found: dict) -> Tensor:
        (left, values, _, finite), (_, next_values, right, next_finite) = found[first], found[second]
        inputs = right.shape[-2]
        centre = centre_of(self._matrices[second])
        if centre is not None:
            right = right.unflatten(-2, (left.shape[-2], -1))[..., centre, :]
        value, determined = aligned(left, values, right, next_values, inputs, self.k)
        return torch.where(determined & finite[..., 0] & next_finite[..., 0], value, torch.nan)

    def singular_values(self, name: str) -> Tensor:
        """(steps, ..., min(m, n)), the largest first."""
        return self._stacked(self._values, self._named(name), (*self._shapes[name][:-2], min(self._shapes[name][-2:])))

    def effective_rank(self, name: str) -> Tensor:
        """(steps, ...) in (0, 1], see ``salnb.weights.effective_rank``; NaN where the weights were not finite."""
        return effective_rank_of(self.singular_values(name))

    def stable_rank(self, name: str) -> Tensor:
        """(steps, ...), see ``salnb.weights.stable_rank``."""
        return stable_rank_of(self.singular_values(name))

    def alignment(self, first: str, second: str) -> Tensor:
        """(steps, ...), see ``layer_alignment``; NaN where equal singular values leave the vectors undetermined."""
        if (first, second) not in self._alignments:
            known = ", ".join(f"{a} -> {b}" for a, b in self.pairs) or "none"
            raise ValueError(f"pair: got {first!r}, {second!r}, whose alignment was not recorded; recorded: {known}")
        return self._stacked(self._alignments, (first, second), self._shapes[first][:-2])

    def table(self) -> Table:
        """A row per step and matrix: singular values, ranks, and the alignment with the next matrix.

        Without replicas the ranks are numbers, else tensors (...,). ``pandas.DataFrame`` takes the table as it is.
        """
        following = dict(reversed(self.pairs))
        columns = {name: (self.singular_values(name), self.effective_rank(name), self.stable_rank(name)) for name in self.names}
        rows = Table(empty="nothing recorded yet", note=self._note)
        for i, step in enumerate(self.steps):
            for name, (values, effective, stable) in columns.items():
                after = following.get(name, "")
                alignment = self.alignment(name, after)[i] if after else math.nan
                rows.append({"step": step, "matrix": name, "shape": self._shapes[name], "singular_values": values[i],
                             "effective_rank": plain(effective[i]), "stable_rank": plain(stable[i]), "next": after,
                             "alignment": plain(alignment)})  # fmt: skip
        return rows

    def state_dict(self) -> dict:
        """All that was recorded, as tensors, numbers and words; ``torch.load(..., weights_only=True)`` reads it."""
        return {
            "steps": list(self.steps), "k": self.k, "shapes": {name: list(shape) for name, shape in self._shapes.items()},
            "singular_values": {name: self.singular_values(name) for name in self.names if self.steps},
            "alignments": [(*pair, self.alignment(*pair)) for pair in self.pairs if self.steps],
        }  # fmt: skip

    def load_state_dict(self, state: dict) -> None:
        """Goes on after what another tracker of the same matrices, pairs and k had recorded.

        Raises:
            ValueError: what was stored is of other matrices, pairs or another k.
        """
        for key in ("steps", "k", "shapes", "singular_values", "alignments"):
            if not isinstance(state, dict) or key not in state:
                raise ValueError(f"state: has no {key!r}, expected what state_dict() of a SpectralTracker returned")
        shapes = {name: tuple(shape) for name, shape in state["shapes"].items()}
        pairs = [tuple(entry[:2]) for entry in state["alignments"]]
        if shapes != self._shapes:
            odd = sorted({name for name in shapes.keys() | self._shapes.keys() if shapes.get(name) != self._shapes.get(name)})
            raise ValueError(f"state: is of other matrices, or of other shapes, than this tracker's: {', '.join(odd[:5])}")
        if state["k"] != self.k or (state["steps"] and pairs != self.pairs):
            raise ValueError(f"state: has k = {state['k']} and the pairs {pairs}, expected k = {self.k} and {self.pairs}")
        self.steps = list(state["steps"])
        self._values = {name: list(state["singular_values"][name].unbind(0)) if self.steps else [] for name in self.names}
        self._alignments = {(a, b): list(values.unbind(0)) for a, b, values in state["alignments"]} or {p: [] for p in self.pairs}

    def _named(self, name: str) -> str:
        if name not in self._matrices:
            raise ValueError(f"name: got {name!r}, which is not watched; watched: {', '.join(self.names)}")
        return name

    def _stacked(self, stored: dict, key: object, shape: tuple[int, ...]) -> Tensor:
        return torch.stack(stored[key]) if stored[key] else torch.empty((0, *shape))


def centre_of(matrix: WatchedMatrix) -> int | None:
    """The place of the kernel's centre among the kernel's flattened places, None for a matrix without a kernel."""
    if not matrix.kernel:
        return None
    place = 0
    for size in matrix.kernel:
        place = place * size + size // 2
    return place


def plain(value: Tensor | float) -> Tensor | float:
    """A single number as a float, replicas as a tensor."""
    return float(value) if not isinstance(value, Tensor) or not value.ndim else value
