"""Why there is no pass that ``sal.step()`` could use: one of its causes, and what to do."""

import sys

from torch import nn

from ..layers import UNSEEN, WATCHED


def why_no_pass(model: nn.Module, recorder: object, stepped: bool) -> str:
    """The cause in words. ``stepped``: whether a step has used a pass before."""
    name = type(model).__name__
    maybe = [layer for layer in recorder.watched if layer.status in (WATCHED, UNSEEN)]
    replaced = recorder.replaced or next((one.name for one in maybe if one.current_weight() is not one.weight), "")
    if replaced:
        return (
            f"the weight of the layer {replaced!r} is another tensor than the one SAL was given: it was replaced, "
            "or parametrized since (load_state_dict(assign=True), weight_norm), or the pass ran in torch.func.functional_call. "
            "Attach SAL again: SAL(model)"
        )
    if recorder.by_forward:
        return f"the forward of {name} was called directly, which skips the hooks. Call the model itself, model(x)"
    if recorder.outside:
        return (
            f"watched layers ran {recorder.outside} times, but outside a call of the {name} that SAL was given; a pass is one "
            "call of that module. Give SAL the module that your loop calls, for instance SAL(model.net)"
        )
    if recorder.in_evaluation_mode:
        return f"the {name} was called in evaluation mode only; call model.train() before the pass"
    if recorder.empty:
        return "the last pass had no samples, so it says nothing of the neurons; skip empty batches"
    if recorder.passes:
        return (
            "no watched layer ran in the passes since the last step: the model skipped them or was given an empty sequence, or "
            "the layers that did run are left out, see print(sal)"
        )
    if recorder.discarded:
        return "discard() has forgotten the passes; call the model once more before step()"
    compiled = ""
    if "torch._dynamo" in sys.modules:
        compiled = (
            " If the model had been compiled and called before SAL was attached, its compiled code calls no hooks: attach SAL "
            "before the first call, or call torch.compiler.reset() once"
        )
    if stepped:
        return f"the last pass was used up by the step() before; call the model once for every step().{compiled}"
    return f"the {name} has not been called since SAL was attached.{compiled}"
