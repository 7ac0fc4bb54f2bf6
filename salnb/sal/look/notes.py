"""What a look remembers: the calls of layers, the functions that took their outputs, and where each tensor comes from."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from ...sensitivity.activations import Activation
from ..layers import WatchedLayer


@dataclass(eq=False)
class Consumer:
    """A function that took a layer's output, or something made of it before any activation."""

    name: str
    activation: Activation | None = None  # if it took exactly the output
    then: Activation | None = None  # the activation to which its result went
    in_place: bool = False
    live: bool = False  # whether its result reached the output of the model
    norm: object | None = None  # the Normalization that it is
    behind: "LayerCall | None" = None  # if it is one: what took its result


@dataclass(eq=False)
class LayerCall:
    """One call of a layer: what came in, and what took its output."""

    layer: WatchedLayer
    fault: str | None = None  # why the output is not weight · input + bias
    reads_input: bool = False
    consumers: list[Consumer] = field(default_factory=list)
    expected: Tensor | None = None  # the output of the activation that the user named
    matched: bool = False  # whether some tensor was equal to it
    matched_at_once: bool = False  # whether that was the result of a function that took the layer's output itself
    activated: list[Tensor] = field(default_factory=list)  # copies of what went into an activation, if other outputs are added
    output: Tensor | None = None  # while the pass goes on

    def and_behind(self) -> Iterator["LayerCall"]:
        """This call, and what stands for the results of normalizations of its output."""
        yield self
        for consumer in self.consumers:
            if consumer.behind is not None:
                yield from consumer.behind.and_behind()


@dataclass(eq=False)
class Note:
    """Where a tensor comes from."""

    exact: LayerCall | None = None  # it holds exactly this call's output, in any shape
    derived: tuple[LayerCall, Consumer] | None = None  # it was made of it by this consumer, and no activation has come since
    also: tuple[tuple[LayerCall, Consumer], ...] = ()  # further calls of which it was made
    pending: frozenset[WatchedLayer] = frozenset()  # layers whose outputs reach it without passing other weights
    marks: frozenset[Consumer] = frozenset()  # consumers whose results reach it
    weighted: bool = False  # weights have acted on it
    from_input: bool = False
    is_weight: bool = False
    unknown: bool = False  # something it was made of came from where nothing could be seen
    view_of: Tensor | None = None  # the parameter that it is, in any shape
    product_of: tuple[list[Tensor], list[Tensor]] = ([], [])  # if it is a product of parameters: the matrices, and vectors added


SUMS = ("add", "add_", "__add__", "__radd__", "__iadd__")
NOTHING = Note(unknown=True)


def merged(notes: list[Note]) -> Note:
    """What holds for the result of any function of tensors with these notes."""
    return Note(
        pending=frozenset().union(*(note.pending for note in notes)),
        marks=frozenset().union(*(note.marks for note in notes)),
        weighted=any(note.weighted for note in notes),
        from_input=any(note.from_input for note in notes),
        is_weight=bool(notes) and all(note.is_weight for note in notes),
        unknown=any(note.unknown for note in notes),
    )


def product(name: str, weighted: bool, notes: list[Note]) -> tuple[list[Tensor], list[Tensor]]:
    """The matrices and vectors among the parameters of which this function's result is weight · input + bias."""
    parameters = [note.view_of for note in notes if note.view_of is not None]
    if weighted:
        return [one for one in parameters if one.ndim > 1], [one for one in parameters if one.ndim == 1]
    if name in SUMS and len(notes) == 2 and len(parameters) == 1:
        matrices, vectors = next(note.product_of for note in notes if note.view_of is None)
        return matrices, [*vectors, *parameters]
    return [], []


def slopes_are_the_neurons(layer: WatchedLayer, activation: Activation | None, taken: Tensor) -> bool:
    """Whether a PReLU with several slopes has one for each neuron: PyTorch lays them along dimension 1 of what it takes."""
    slopes = getattr(getattr(activation, "slope", None), "keywords", {}).get("weight")
    if slopes is None or slopes.numel() == 1:
        return True
    return taken.ndim == (layer.weight.ndim if layer.is_convolution else 2)
