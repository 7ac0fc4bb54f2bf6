"""Which of PyTorch's functions are activations, and which only change a tensor's shape or type."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from ...sensitivity.activations import ACTIVATIONS, AUTOMATIC, Activation, gelu, leaky, of_function, prelu, softplus

# The result holds the same numbers, perhaps in another shape, type or place.
SHAPES = frozenset(
    "view reshape transpose permute contiguous unsqueeze squeeze flatten unflatten ravel movedim moveaxis swapaxes swapdims t "
    "clone detach detach_ to type float double half bfloat16 cuda cpu type_as view_as reshape_as expand expand_as alias "
    "requires_grad_ unsafe_view values T mT H mH data real positive __pos__ align_to refine_names rename".split()
)
# Modules whose output is a neuron's row of weights times its inputs, and modules that mix or drop numbers in between.
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
BETWEEN = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)
# A function of each number, with no numbers of its own.
PLAIN = frozenset("sin cos tan asinh atan arctan erf exp expm1 sinc abs square sqrt log1p softsign".split())
# The result depends on weights if one of the arguments is a matrix of weights.
PRODUCTS = frozenset("matmul __matmul__ __rmatmul__ mm bmm addmm addmm_ baddbmm addbmm mv addmv einsum tensordot inner".split())
ALWAYS_WEIGHTED = frozenset(
    "linear bilinear embedding embedding_bag conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d "
    "rnn_tanh rnn_relu lstm gru rnn_tanh_cell rnn_relu_cell lstm_cell gru_cell multi_head_attention_forward".split()
)
IN_WORDS = {
    "layer_norm": "LayerNorm", "batch_norm": "BatchNorm", "group_norm": "GroupNorm", "instance_norm": "InstanceNorm",
    "rms_norm": "RMSNorm", "normalize": "a normalization", "dropout": "dropout", "alpha_dropout": "dropout", "add": "a sum",
    "add_": "a sum", "__iadd__": "a sum", "__radd__": "a sum", "sub": "a sum", "sub_": "a sum", "__rsub__": "a sum",
    "mul": "a product (a scale or a gate)", "mul_": "a product (a scale or a gate)", "__rmul__": "a product (a scale or a gate)",
    "div": "a division", "div_": "a division", "__getitem__": "a part taken of it", "chunk": "a split", "split": "a split",
    "linear": "the next linear layer", "cat": "a concatenation", "stack": "a stack", "softmax": "softmax",
    "log_softmax": "log_softmax", "scaled_dot_product_attention": "attention", "select": "a part taken of it",
    "unbind": "a split", "__setitem__": "an assignment to a part of a tensor", "copy_": "a copy into another tensor",
    "cross_entropy": "the loss", "mse_loss": "the loss",
}  # fmt: skip


def is_source(name: str) -> bool:
    """Whether the function takes only shape and type from its arguments: zeros_like, new_zeros."""
    return name.endswith("_like") or name.startswith("new_")


def memory_of(tensor: Tensor) -> tuple | None:
    """Where the tensor's numbers lie; None if that cannot be said (nested tensors, wrappers)."""
    try:
        return tensor.device, tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return None


def name_of(function: Callable) -> str:
    """The name of a function that PyTorch reports; of an attribute such as ``.T`` the attribute's."""
    name = getattr(function, "__name__", "")
    return getattr(getattr(function, "__self__", None), "__name__", name) if name == "__get__" else name


def in_words(name: str) -> str:
    return IN_WORDS.get(name, name.strip("_"))


@cache
def _parameters(name: str) -> tuple[str, ...]:
    """The names of the arguments after the first, as the module of that name calls its settings."""
    known = {"leaky_relu": ("negative_slope",), "gelu": ("approximate",), "softplus": ("beta", "threshold"), "prelu": ("weight",),
             "clamp": ("min", "max"), "clamp_min": ("min",), "clamp_max": ("max",), "log_sigmoid": ()}  # fmt: skip
    if name in known:
        return known[name]
    try:
        return tuple(inspect.signature(getattr(F, name)).parameters)[1:]
    except (AttributeError, ValueError):  # a builtin has no signature
        return AUTOMATIC.get(name, ())


def activation_of(name: str, arguments: tuple, keywords: Mapping[str, object]) -> Activation | None:
    """The activation that a call of PyTorch's function ``name`` computes; None if it is none, or not of numbers alone."""
    name = name.removeprefix("special_").removesuffix("_")
    name = {"log_sigmoid": "logsigmoid", "_threshold": "threshold", "clip": "clamp", "arctan": "atan"}.get(name, name)
    given = dict(zip(_parameters(name), arguments[1:], strict=False)) | dict(keywords)
    given = {key: value for key, value in given.items() if key not in ("inplace", "input", "out", "min_value", "self")}
    if name == "prelu":
        weight = given.get("weight")
        return prelu(weight) if isinstance(weight, Tensor) else None
    if any(not isinstance(value, int | float | str | type(None)) for value in given.values()):
        return None
    if name == "gelu":
        return gelu(**given)
    if name == "leaky_relu":
        return leaky(given.get("negative_slope", 0.01))
    if name == "softplus":
        return softplus(**given)
    if name in ("clamp", "clamp_min", "clamp_max"):
        is_relu = name != "clamp_max" and {"min": 0, **given} == {"min": 0}
        return ACTIVATIONS["relu"] if is_relu else of_function(name, **given)
    name = "sigmoid" if name == "expit" else name
    if name in ("tanh", "sigmoid", "relu"):
        return ACTIVATIONS[name]
    if name in AUTOMATIC or name in PLAIN:
        return of_function(name, **given)
    return None


def is_weighted(name: str, tensors: list[Tensor], are_weights: Callable[[Tensor], bool]) -> bool:
    """Whether the function's result is a weighted sum of its inputs with the network's own weights."""
    return name in ALWAYS_WEIGHTED or name in PRODUCTS and any(tensor.ndim >= 2 and are_weights(tensor) for tensor in tensors)


def tensors_in(value: object) -> list[Tensor]:
    """The tensors among arguments, results, and lists, tuples, dictionaries and data classes of them, and in distributions."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, torch.nn.utils.rnn.PackedSequence):
        return [value.data]
    if isinstance(value, list | tuple):
        return [tensor for part in value for tensor in tensors_in(part)]
    if isinstance(value, Mapping):
        return [tensor for part in value.values() for tensor in tensors_in(part)]
    if hasattr(value, "__dataclass_fields__"):
        return [tensor for name in value.__dataclass_fields__ for tensor in tensors_in(getattr(value, name, None))]
    if isinstance(value, torch.distributions.Distribution):
        return [tensor for part in vars(value).values() for tensor in tensors_in(part)]
    return []
