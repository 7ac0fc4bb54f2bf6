"""A second device without a GPU: its tensors say ``pretended:0``, lie in the CPU's memory, and refuse what CUDA's would refuse.

    .venv/bin/python -m tests.on_pretended_device book/theory/x.ipynb …    runs chapters on it, names the cells that slip
    SALNB_PRETENDED_DEVICE=1 .venv/bin/python -m pytest -p no:xdist tests/sal   the fixture ``device`` offers it as well
    from tests.pretended_device import install; DEVICE = install()              in a program

PyTorch keeps a device type for devices of others (PrivateUse1). ``install`` names it "pretended" and gives it kernels: each
reads its tensors as CPU tensors of the same memory, computes there, and says that the result is on the device. All that
stands above kernels is PyTorch's own: autograd, forward-mode derivatives, ``torch.func``, modules, optimizers.

Refused as on CUDA: tensors of two devices in one operation (but a CPU tensor without dimensions, or as an index),
``.numpy()`` and with it plots, a CPU generator for a draw on the device, gradients of another device, device numbers
written into CPU tensors.

What it cannot see: what CUDA has no kernel for, or rounds in another order; what cuDNN's RNN, GRU and LSTM lack (second and
forward-mode derivatives, vmap); a CPU number without dimensions in the few operations where CUDA refuses even that; a
generator of the device for a draw on the CPU; code that asks for ``device.type == "cuda"``; memory, synchronization and
speed (here an operation costs some 30 µs). Without a generator it draws the CPU's numbers. What has no kernel here says
"limit of the pretence". Once installed, it stays until the process ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import weakref
from collections.abc import Callable
from unittest import mock

import torch
from torch import Tensor
from torch.utils import backend_registration

NAME = "pretended"
CPU, OTHER = 1, 12  # device types in DLPack, the format in which libraries hand each other tensors; PyTorch: 12 is PrivateUse1
INDEXING = {"aten::index", "aten::_index_put_impl_", "aten::index_put", "aten::index_put_"}  # by indices of the CPU as well
# They make another view of the same memory, and do not look at the device: the CPU's own kernels serve.
VIEWS = ["as_strided", "view", "unfold", "_reshape_alias", "view_as_real", "view_as_complex"]
VIEWS += ["set_.source_Storage", "set_.source_Storage_storage_offset", "set_.source_Tensor"]
PRODUCTS = ["linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "addmv", "mv"]  # what autocast does in the short format
DRAWING: weakref.WeakValueDictionary[int, torch.Generator] = weakref.WeakValueDictionary()  # generators of the device
LOWER = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
PATHS: list[torch.library.Library] = []  # registrations live as long as these

address_in = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))


def relabelled(tensor: Tensor, kind: int) -> Tensor:
    """The same memory, on another device."""
    capsule = torch._C._to_dlpack(tensor)
    place = address_in(capsule, b"dltensor") + ctypes.sizeof(ctypes.c_void_p)  # after the address of the data
    ctypes.c_int32.from_address(place).value = kind
    return torch._C._from_dlpack(capsule)


def each(function: Callable, value: object) -> object:
    """The function of a value, or of each in a list."""
    return [function(one) for one in value] if type(value) in (list, tuple) else function(value)


def to_cpu(value: object) -> object:
    """What the kernel of the CPU is to get instead."""
    if isinstance(value, Tensor):
        return relabelled(value, CPU) if value.device.type == NAME else value.detach()
    return torch.device("cpu") if isinstance(value, torch.device) else value


def to_here(value: object) -> object:
    """What the device gives back instead."""
    return relabelled(value, OTHER) if isinstance(value, Tensor) else value


def refuse(op: torch._ops.OpOverload, values: list, written: list) -> None:
    """Raises a RuntimeError at what CUDA would refuse: two devices, or a generator of the CPU."""
    for value in values:
        if isinstance(value, torch._C.Generator) and value._cdata not in DRAWING:
            raise RuntimeError(f"pretended device: {op}: expected a generator of the device '{NAME}' but found one of 'cpu'")
        if isinstance(value, Tensor) and value.device.type != NAME and (value.dim() or any(value is out for out in written)):
            what = f"found two devices, {NAME} and {value.device} (shape {tuple(value.shape)})"
            raise RuntimeError(f"pretended device: {op}: expected all tensors to be on the same device, but {what}")


@functools.cache
def form(op: torch._ops.OpOverload) -> tuple[dict[str, bool], list[str], list[bool]]:
    """The arguments and whether each is a tensor, the names of those that the operation writes into, which results are these.

    Raises:
        NotImplementedError: a result shares the memory of an argument in a way that is not provided for.
    """
    schema, shared = op._schema, [one.alias_info for one in op._schema.returns]
    if any(one is not None and not one.is_write for one in shared):
        raise NotImplementedError(f"limit of the pretence: {op} returns a view")
    written = [one.name for one in schema.arguments if one.alias_info is not None and one.alias_info.is_write]
    return {one.name: str(one.type) == "Tensor" for one in schema.arguments}, written, [one is not None for one in shared]


def kernel(op: torch._ops.OpOverload, *args: object, **kwargs: object) -> object:
    """Any operation on the device."""
    tensor, writes, old = form(op)
    given = dict(zip(tensor, args, strict=False)) | kwargs
    numbers = any(tensor[name] and type(value) in (bool, int, float, complex) for name, value in given.items())
    written, values, grown = [given.get(name) for name in writes], [], []
    for name, value in given.items():
        if not (name == "indices" and op._schema.name in INDEXING):
            values += value if type(value) in (list, tuple) else [value]
    refuse(op, values, written)
    inner = {name: each(to_cpu, value) for name, value in given.items()}
    for name, value in zip(writes, written, strict=True):
        if isinstance(value, Tensor) and not value.numel():  # it may have to grow, which memory that is lent does not
            inner[name] = torch.empty(value.shape, dtype=value.dtype, device="cpu")
            grown.append((value, inner[name]))
    with torch._C._AutoDispatchBelowAutograd():
        found = (op.overloadpacket if numbers else op)(**inner)  # a tensor made of a number of Python comes as the number
        for value, result in grown:
            if result.numel():
                replace(value, result)
    if len(old) < 2:
        return (written[0] if old[0] else each(to_here, found)) if old else None
    outs = iter(written)
    return tuple(next(outs) if was else each(to_here, value) for was, value in zip(old, found, strict=True))


def replace(tensor: Tensor, content: Tensor) -> Tensor:
    """Gives a tensor of the device other memory and another shape."""
    content = relabelled(content, OTHER)
    return tensor.set_(content.untyped_storage(), 0, content.shape, content.stride())


def copy_(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """From and to everywhere."""
    with torch._C._AutoDispatchBelowAutograd():
        to_cpu(target).copy_(to_cpu(source))
    return target


def convolution_backward(grad: Tensor, inputs: Tensor, weight: Tensor, *rest: object) -> object:
    """The derivative of a convolution by its input, its weight and its bias."""
    return kernel(torch.ops.aten.convolution_backward.default, grad, inputs, weight, [grad.shape[1]], *rest)


def lstm_cell(inputs: Tensor, hidden: Tensor, cell: Tensor, *biases: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The step of an LSTM after its two products, one operation on CUDA: the next h, the next c."""
    gates = inputs + hidden + sum(bias for bias in biases if bias is not None)
    enter, keep, new, show = gates.chunk(4, 1)
    cell = keep.sigmoid() * cell + enter.sigmoid() * new.tanh()
    return show.sigmoid() * cell.tanh(), cell, gates


def gru_cell(inputs: Tensor, hidden: Tensor, state: Tensor, *biases: Tensor | None) -> tuple[Tensor, Tensor]:
    """The step of a GRU after its two products."""
    given = [bias for bias in biases if bias is not None]
    products = [a + b for a, b in zip((inputs, hidden), given, strict=True)] if given else (inputs, hidden)
    (reset, keep, new), (reset_h, keep_h, new_h) = (one.chunk(3, 1) for one in products)
    new = (new + (reset + reset_h).sigmoid() * new_h).tanh()
    return new + (keep + keep_h).sigmoid() * (state - new), products[0]


def in_short(op: torch._ops.OpOverload, *args: object, **kwargs: object) -> object:
    """A product under autocast: of its matrices in the short format."""
    short = torch.get_autocast_dtype(NAME)
    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):
        fit = [one.to(short) if isinstance(one, Tensor) and one.dtype == torch.float32 else one for one in args]
        return op(*fit, **kwargs)


class Backend(backend_registration._DummyBackendModule):
    """What ``torch.load`` and autocast ask of ``torch.pretended``."""

    device = contextlib.nullcontext
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])


class Kind(type(torch._C.Generator)):
    """What is a generator: PyTorch's own as well."""

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, torch._C.Generator)


class Generator(torch._C.Generator, metaclass=Kind):
    """A generator of the device, for ``torch.Generator(device)``; of other devices PyTorch's own."""

    def __new__(cls, device: torch.device | str = "cpu") -> torch._C.Generator:
        if torch.device(device).type != NAME:
            return torch._C.Generator(device)
        made = super().__new__(cls, "cpu")
        DRAWING[made._cdata] = made  # a kernel gets another Python object of the same generator
        return made

    @property
    def device(self) -> torch.device:
        """Where it draws."""
        return torch.device(NAME, 0)


def keep_parameters(apply: Callable) -> Callable:
    """``module.to(device)`` keeps its parameters, as on CUDA: it exchanges their contents, since it cannot set them here."""

    @functools.wraps(apply)
    def kept(*args: object, **kwargs: object) -> object:
        exchange = mock.patch.object(torch.utils, "swap_tensors", torch._C._swap_tensor_impl)  # without a look at weak references
        with exchange, mock.patch.object(torch.__future__, "get_swap_module_params_on_conversion", lambda: True):
            return apply(*args, **kwargs)

    return kept


def storage(cls: type, *args: object, device: torch.device | str = "cpu", **kwargs: object) -> torch.UntypedStorage:
    """Memory for ``copy.deepcopy`` and ``torch.load``."""
    if torch.device(device).type == NAME:
        return torch.empty(*args, dtype=torch.uint8, device=device).untyped_storage()
    return torch._C.StorageBase.__new__(cls, *args, device=device, **kwargs)


@functools.cache
def install() -> torch.device:
    """Makes the device, once in a process, and returns it."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, Backend())
    rest, own = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    PATHS.extend((rest, own))
    rest.fallback(kernel, "PrivateUse1")
    rest.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for name in PRODUCTS:
        own.impl(name, functools.partial(in_short, overload(name)), "AutocastPrivateUse1")
    for name in VIEWS:
        own.impl(name, functools.partial(overload(name).redispatch, LOWER), "PrivateUse1")
    # PyTorch would first ask for empty results, and then have them written: one call is faster.
    for name in torch._C._dispatch_get_registrations_for_dispatch_key("CompositeExplicitAutogradNonFunctional"):
        name = name.removeprefix("aten::")
        if not name.startswith("as_strided"):
            own.impl(name, functools.partial(kernel, overload(name)), "PrivateUse1")
    own.impl("copy_", copy_, "PrivateUse1")
    own.impl("_efficientzerotensor", functools.partial(kernel, overload("zeros")), "PrivateUse1")  # the CPU's has no memory
    own.impl("convolution_overrideable", functools.partial(kernel, overload("convolution")), "PrivateUse1")
    own.impl("convolution_backward_overrideable", convolution_backward, "PrivateUse1")
    for key in ("PrivateUse1", "AutogradPrivateUse1"):
        own.impl("_thnn_fused_lstm_cell", lstm_cell, key)
        own.impl("_thnn_fused_gru_cell", gru_cell, key)
    torch.Generator = Generator
    torch.UntypedStorage.__new__ = storage
    torch.nn.Module._apply = keep_parameters(torch.nn.Module._apply)
    return torch.device(NAME, 0)


def overload(name: str) -> torch._ops.OpOverload:
    """An operation of PyTorch by its name, as "add.Tensor"."""
    packet, _, which = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), which or "default")
