"""If ``sal.step()`` came between forward and backward, the error of backward says so."""

import weakref

import torch
from torch import Tensor

MESSAGE = (
    "SAL: sal.step() changed the weights after this forward pass and before its backward pass, which needs them as they were. "
    "The order is: forward, backward, optimizer.step(), sal.step()"
)


def _needs_changed_tensors(node: object) -> bool:
    """Whether some function of the graph behind ``node`` has kept a tensor that was changed in place since."""
    waiting, seen = [node], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for name in dir(node):
            if name.startswith("_saved_"):
                try:
                    getattr(node, name)
                except RuntimeError as error:
                    if "inplace operation" in str(error):
                        return True
        waiting += [following for following, _ in node.next_functions]
    return False


def guard_backward(outputs: list[Tensor], recorder: object) -> None:
    """Has backward from these outputs of the model look first whether SAL has moved what it needs."""
    number, alive = recorder.number, weakref.ref(recorder)
    for tensor in outputs:
        if tensor.grad_fn is None or not torch.is_grad_enabled():
            continue

        def look(gradients, number=number):
            owner = alive()
            if owner is not None and owner.moved_after >= number and _needs_changed_tensors(torch._C._current_autograd_node()):
                raise RuntimeError(MESSAGE)

        tensor.grad_fn.register_prehook(look)
