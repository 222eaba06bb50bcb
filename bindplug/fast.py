"""Make models faster or smaller for inference: packed weights, eight-bit weights, compiled blocks.

Each function changes the model in place and returns it. Results stay equal within float rounding, except for
:func:`quantize`, whose loss :command:`bindplug bench` measures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from bindplug.errors import InputError

if TYPE_CHECKING:
    from bindplug.imagebind.inference_blocks import LinearFactory

__all__ = [
    "compile",
    "pack",
    "quantize",
]

Model = TypeVar("Model")


def pack(model: Model) -> Model:
    """Bring the weights into the layout that the CPU's kernels read, once instead of in every call.

    On two cores the published network's image tower is some 1.2 times as fast in float32 and 1.15 times in bfloat16;
    few prompts through the text tower gain most. Memory stays the same. A packed model is for inference only: it has
    no state dict, passes no gradient, and stays in its dtype. Call :func:`bindplug.load` again for anything else.

    Args:
        model: an ImageBind on the CPU, in float32, bfloat16 or float16.

    Returns:
        The same model, changed in place.

    Raises:
        InputError: another kind of model, one on another device, one packed before, or a processor or torch without
            packed products of the model's dtype.
    """
    from bindplug.imagebind.inference_linear import PackedLinear, packing_obstacle

    network = _network(model, "pack()")
    if network.device.type != "cpu":
        expected = "a model on the CPU; elsewhere there is nothing to pack"
        raise InputError("pack()", found=f"a model on {network.device}", expected=expected)
    reason = packing_obstacle(network.dtype)
    if reason:
        remedy = "The model works as it is; float32 is packed on every x86 processor"
        raise InputError("pack()", found=reason, expected="oneDNN's packed products", remedy=remedy)
    _replace_blocks(network, PackedLinear)
    return model


def quantize(model: Model) -> Model:
    """Keep the weights of every block in eight bits, a quarter of float32's memory.

    Weights are rounded to 255 steps a row and multiplied in the model's own dtype, so this saves memory and not time.
    Patch projections, norms, heads and token embeddings stay as they are. For inference only, as with :func:`pack`.

    Args:
        model: an ImageBind on any device, in any floating-point dtype.

    Returns:
        The same model, changed in place.

    Raises:
        InputError: another kind of model, or one packed or quantized before.
    """
    from bindplug.imagebind.inference_linear import Int8Linear

    _replace_blocks(_network(model, "quantize()"), Int8Linear)
    return model


def compile(model: Model, **options: Any) -> Model:
    """Compile the blocks with ``torch.compile``, once for all of a tower's blocks and for every batch size.

    Sizes are symbolic, so another batch or number of tokens compiles nothing anew (a batch of one, which torch treats
    apart, once more). It pays on GPUs; on CPUs :func:`pack` gains more. The first call of a tower compiles.

    Args:
        model: an ImageBind on any device.
        options: of ``torch.compile``, such as ``mode`` or ``backend``; ``dynamic`` is True.

    Returns:
        The same model, changed in place.

    Raises:
        InputError: another kind of model, or a packed one.
    """
    network = _network(model, "compile()")
    for tower in network.towers.values():
        for block in tower.blocks:
            block.compile(**({"dynamic": True} | options))
    return model


def _network(model: Any, call: str) -> Any:
    from bindplug.imagebind.inference_blocks import InferenceBlock
    from bindplug.imagebind.model import ImageBind

    if not isinstance(model, ImageBind):
        expected = "a model that bindplug.load() returned"
        raise InputError(call, found=f"a {type(model).__name__}", expected=expected)
    if any(isinstance(module, InferenceBlock) for module in model.modules()):
        remedy = "Load it again"
        raise InputError(call, found="a packed or quantized model", expected="plain weights", remedy=remedy)
    return model


def _replace_blocks(network: Any, make_linear: LinearFactory) -> None:
    """Replace every block, one at a time, so that no more than one is held twice."""
    from bindplug.imagebind.inference_blocks import InferenceBlock, require_plain_linears

    require_plain_linears(network.towers)
    network.eval().requires_grad_(False)
    for tower in network.towers.values():
        for index, block in enumerate(tower.blocks):
            last = index == len(tower.blocks) - 1
            tower.blocks[index] = InferenceBlock(block, make_linear, last=last)
