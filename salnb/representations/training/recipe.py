"""What the models that the part *Geometry* compares differ in: where hidden weights come from, the penalty, the schedule."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor

from ...common.arguments import check_integers, one_of
from ..hidden_net import HiddenNet
from ..penalties import jacobian_penalty, sensitivity_penalty, spectral_penalty, weight_penalty

HIDDEN = ("learned", "components", "random", "exemplars", "given")
FROZEN = ("random", "exemplars", "given")
SETTINGS = {  # of each penalty, what it takes beside its strength
    None: (),
    "weight": (),
    "jacobian": ("at", "probes", "published"),
    "spectral": ("at", "alpha", "first", "last", "form", "scale"),
    "sensitivity": ("target",),
}


def _check_number(name: str, value: object, least: float, *, above: bool = False, most: float = math.inf) -> None:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and least <= value <= most
    if not fits or (above and value == least):
        wanted = f"a finite number {'>' if above else '>='} {least}" if most == math.inf else f"a number from {least} to {most}"
        raise ValueError(f"{name}: got {value!r}, expected {wanted}")


@dataclass(frozen=True)
class Recipe:
    """How a ``HiddenNet`` is trained: by Adam, on the cross-entropy and a penalty.

    Attributes:
        hidden: where the hidden weights come from. "learned"; "components": learned, but only the first ``components`` principal
            components of the inputs are read. With the other three they stay as they are, and the readout alone learns:
            "random" (the start); "exemplars" (inputs to fit, drawn without replacement, as the weights of a Krotov–Hopfield
            layer of this ``p``); "given" (by the caller).
        units, power, activation: as of ``HiddenNet``. epochs, batch, lr: of Adam; samples that do not fill a batch wait for
            another epoch. fall: the share of the training, at its end, over which lr falls linearly to 0.
        penalty: None, "weight", "jacobian", "spectral" or "sensitivity"; strength: its factor. The other settings are those of
            the penalties' functions; ``at`` says whether "pre" or "hidden" activities are meant.
        clip: None, or the length at which each replica's gradient is cut, all its parameters together.
    """

    hidden: str = "learned"
    units: int = 200
    power: float = 1.0
    activation: str = "relu"
    epochs: int = 120
    batch: int = 100
    lr: float = 5e-3
    fall: float = 1.0
    penalty: str | None = None
    strength: float = 0.0
    at: str = "pre"
    probes: int | None = None
    published: bool = False
    alpha: float = 1.0
    first: int = 1
    last: int | None = None
    form: str = "log"
    scale: float | None = None
    target: float = 1.0
    components: int = 16
    p: float = 3.0
    clip: float | None = None

    def __post_init__(self) -> None:
        check_integers(
            units=(self.units, 1), epochs=(self.epochs, 1), batch=(self.batch, 1), components=(self.components, 1)
        )
        one_of("hidden", self.hidden, HIDDEN)
        if self.penalty is not None:
            one_of("penalty", self.penalty, tuple(SETTINGS)[1:])
        _check_number("lr", self.lr, 0, above=True)
        _check_number("strength", self.strength, 0)
        _check_number("p", self.p, 2)
        _check_number("fall", self.fall, 0, most=1)
        if self.clip is not None:
            _check_number("clip", self.clip, 0, above=True)
        if self.hidden in FROZEN and self.penalty not in (None, "weight"):
            raise ValueError(
                f"penalty: got {self.penalty!r} with hidden={self.hidden!r}, where hidden weights do not learn; expected None or "
                "'weight'"
            )

    def rate(self, done: float) -> float:
        """The learning rate when this share of the training is done."""
        return self.lr * min(1.0, (1 - done) / self.fall) if self.fall > 0 else self.lr

    def cost(self, net: HiddenNet, x: Tensor, generator: torch.Generator | None) -> Tensor | None:
        """The penalty (...,) of each replica on a batch, without its strength."""
        match self.penalty:
            case "weight":
                return weight_penalty(net)
            case "jacobian":
                return jacobian_penalty(
                    net, x, at=self.at, probes=self.probes, published=self.published, generator=generator
                )
            case "spectral":
                h = net.pre(x) if self.at == "pre" else net.hidden(x)
                return spectral_penalty(
                    h, alpha=self.alpha, first=self.first, last=self.last, form=self.form, scale=self.scale
                )
            case "sensitivity":
                return sensitivity_penalty(net, x, target=self.target)
        return None


# Rates and epochs for 1,000 handwritten digits per replica, chosen by accuracy on splits of their own, partly on their samples to
# judge by. The stored comparison has other splits, though of the same 1,797 images, and two other data sets.
MODELS: dict[str, Recipe] = {
    "backprop": Recipe(),
    "decay": Recipe(penalty="weight", strength=5e-4),
    "jacobian": Recipe(penalty="jacobian", strength=1e-3),
    "jacobian_published": Recipe(penalty="jacobian", strength=1e-3, probes=3, published=True),
    "spectral": Recipe(penalty="spectral", strength=0.3, alpha=1.0, first=4, last=30),  # a window of the digits' ranks
    "sensitivity": Recipe(penalty="sensitivity", strength=0.03, target=0.5, activation="tanh"),
    "early": Recipe(epochs=8, batch=50, lr=1e-3, fall=0.0),
    "components": Recipe(hidden="components"),
    "random": Recipe(hidden="random", lr=0.05),
    "exemplars": Recipe(hidden="exemplars", power=4.5, lr=0.1),  # with n = 4.5 activities are small, and the readout far away
    "krotov_hopfield": Recipe(hidden="given", power=4.5, lr=0.1),
}


def as_recipe(model: str | Recipe, changes: Mapping[str, object]) -> Recipe:
    """The recipe of a model with some settings changed; settings that this model would not read are refused."""
    if isinstance(model, str):
        one_of("model", model, tuple(MODELS))
    elif not isinstance(model, Recipe):
        raise TypeError(f"model: got {type(model).__name__}, expected the name of a model or a Recipe")
    recipe = MODELS[model] if isinstance(model, str) else model
    known = [field.name for field in fields(Recipe)]
    if unknown := sorted(set(changes) - set(known)):
        raise ValueError(f"{unknown[0]}: is no setting of a recipe, expected some of {', '.join(known)}")
    changed = Recipe(**{**asdict(recipe), **changes})
    unread = {name for names in SETTINGS.values() for name in names} - set(SETTINGS[changed.penalty])
    unread |= {"strength"} if changed.penalty is None else set()
    unread |= {"components"} if changed.hidden != "components" else set()
    unread |= {"p"} if changed.hidden != "exemplars" else set()
    unread |= {"units"} if changed.hidden == "given" else set()
    if names := sorted(unread & set(changes)):
        raise ValueError(
            f"{names[0]}: got {changes[names[0]]!r}, which is not read with penalty={changed.penalty!r} and "
            f"hidden={changed.hidden!r}; leave it out, or choose another penalty or model"
        )
    return changed
