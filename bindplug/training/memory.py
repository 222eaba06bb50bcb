"""How much memory training a tower takes, computed by running one step without numbers."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bindplug.imagebind import ImageBind, ImageBindConfig, Tower
from bindplug.modality import Modality
from bindplug.training.adapters import add_adapters
from bindplug.training.lora_recipe import LoraRecipe
from bindplug.training.loss import symmetric_info_nce

ADAMW_STATES = 2
"""Averages that AdamW keeps of each trained number, in its dtype."""

VISION = "vision"


@dataclass(frozen=True)
class StepMemory:
    """What one training step holds in memory, in bytes.

    Attributes:
        weights: of the tower, frozen or trained, without adapters.
        adapters: of LoRA or DoRA.
        gradients: of what is trained.
        optimizer: AdamW's averages.
        activations: what the step needs beside all that at its fullest moment: results of layers that the backward
            pass needs, gradients on their way, and the loss's (B, B) similarities.
        batch_size: pairs in the step.
    """

    weights: int
    adapters: int
    gradients: int
    optimizer: int
    activations: int
    batch_size: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.adapters + self.gradients + self.optimizer + self.activations

    def to_dict(self) -> dict[str, int]:
        """Plain values, ``total`` among them."""
        return asdict(self) | {"total": self.total}


def estimate_memory(
    config: ImageBindConfig,
    modality: str,
    batch_size: int,
    *,
    lora: LoraRecipe | None = None,
    precision: str = "no",
    dtype: torch.dtype = torch.float32,
    gradient_checkpointing: bool = False,
    on_cpu: bool = False,
) -> StepMemory:
    """Memory of a training step of one ImageBind tower; no weights are allocated, whatever the size.

    The step is run on torch's ``meta`` device, which computes shapes and no numbers. Attention counts as one fused
    kernel, as on GPUs. A GPU's own overhead comes on top: some 0.5 GB of CUDA context, and what the allocator cannot
    reuse, a tenth or so.

    Args:
        config: of the network.
        modality: whose tower is trained; any but text.
        batch_size: pairs in a step on one device, or in one part of it with accumulation; at least 2.
        lora: adapters to train; None trains the whole tower.
        precision: ``"no"`` or ``"bf16"`` for mixed precision.
        dtype: of the tower's weights; adapters are float32.
        gradient_checkpointing: compute blocks again in the backward pass.
        on_cpu: count what a CPU's kernels need beside a GPU's: where two dtypes meet, as in DoRA's mixed precision,
            they first convert whole operands.

    Returns:
        The bytes by kind.
    """
    tower_name = Modality.parse(modality).tower
    model = ImageBind(config, {modality}, device="meta", dtype=dtype)
    if lora is not None:
        add_adapters(model, modality, lora)
    tower = model.towers[tower_name]
    assert isinstance(tower, Tower)
    shape = _input_shape(tower_name, config.input_size(tower_name))
    return step_memory(
        tower,
        shape,
        batch_size,
        precision=precision,
        gradient_checkpointing=gradient_checkpointing,
        on_cpu=on_cpu,
    )


def step_memory(
    tower: nn.Module,
    input_shape: tuple[int, ...],
    batch_size: int,
    *,
    precision: str = "no",
    gradient_checkpointing: bool = False,
    on_cpu: bool = False,
) -> StepMemory:
    """Memory of a training step of any tower, which is copied without its numbers and otherwise left alone.

    Args:
        tower: from (B, …) inputs to (B, D) rows; what of it requires a gradient is trained.
        input_shape: of one input, without the batch axis.
        batch_size: as in :func:`estimate_memory`.
        precision: likewise.
        gradient_checkpointing: likewise; only ImageBind's towers know it.
        on_cpu: likewise.
    """
    shadow = _shadow(tower)
    shadow.train()
    rules = _GpuRules(is_mixed=precision != "no")
    if isinstance(shadow, Tower):
        shadow.gradient_checkpointing = gradient_checkpointing
        # The backward pass leaves the mode, so blocks that are computed again enter it by themselves.
        shadow.run_block = _inside(shadow.run_block, rules)  # type: ignore[method-assign]
    trained = [parameter for parameter in shadow.parameters() if parameter.requires_grad]
    live = _LiveBytes(converts_operands=on_cpu)
    for tensor in (*shadow.parameters(), *shadow.buffers()):
        live.hold(tensor)
    held = live.now
    inputs = torch.empty(batch_size, *input_shape, device="meta")
    with live:
        with rules:
            rows = shadow(inputs)
        loss = symmetric_info_nce(torch.empty_like(rows), rows, 1.0)
        del rows
        torch.autograd.backward(loss)
    gradients = sum(parameter.nbytes for parameter in trained)
    adapters = sum(p.nbytes for name, p in shadow.named_parameters() if ".lora_" in name)
    return StepMemory(
        weights=held - adapters,
        adapters=adapters,
        gradients=gradients,
        optimizer=ADAMW_STATES * gradients,
        # At the fullest moment few gradients exist yet; counting all of them again would be too much.
        activations=max(0, live.peak - held - min(gradients, live.gradients_at_peak(trained))),
        batch_size=batch_size,
    )


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors' storages while they live.

    Args:
        converts_operands: whether elementwise kernels first make a copy of each operand of another dtype, as on CPUs.
    """

    def __init__(self, *, converts_operands: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.converts_operands = converts_operands
        self._sizes: dict[int, int] = {}
        self.now = self.peak = 0
        self._at_peak: frozenset[int] = frozenset()

    def hold(self, tensor: Tensor) -> None:
        """Count a tensor's storage, once, until it dies."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self.now += storage.nbytes()
        weakref.finalize(storage, self._drop, key)
        self._note_peak(self.now)

    def gradients_at_peak(self, parameters: list[nn.Parameter]) -> int:
        """Bytes of the parameters' gradients that existed at the peak."""
        grads = [p.grad for p in parameters if p.grad is not None]
        return sum(grad.nbytes for grad in grads if grad.untyped_storage()._cdata in self._at_peak)

    def _note_peak(self, held: int) -> None:
        if held > self.peak:
            self.peak = held
            self._at_peak = frozenset(self._sizes)

    def _drop(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.hold(leaf)
        if self.converts_operands and torch.Tag.pointwise in func.tags and isinstance(out, Tensor):
            self._note_peak(self.now + _converted_bytes(args, out.dtype))
        return out


def _converted_bytes(operands: tuple[Any, ...], dtype: torch.dtype) -> int:
    """Bytes of copies in ``dtype`` of those floating operands that have another one."""
    tensors = [x for x in operands if isinstance(x, Tensor) and x.is_floating_point() and x.ndim]
    return sum(x.numel() * dtype.itemsize for x in tensors if x.dtype != dtype)


class _GpuRules(TorchFunctionMode):
    """Makes the meta device keep what a GPU keeps: fused attention, and autocast's dtypes.

    Source of the dtypes: torch.amp's lists of operations that run in half and in single precision.
    """

    HALF = (F.linear, F.conv1d, F.conv2d, F.conv3d, torch.matmul, Tensor.matmul, Tensor.__matmul__)
    SINGLE = (F.layer_norm, F.group_norm, F.softmax, torch.softmax, Tensor.softmax)

    def __init__(self, *, is_mixed: bool) -> None:
        super().__init__()
        self.is_mixed = is_mixed

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return _FusedAttention.apply(*args[:3])
        if self.is_mixed and func in self.HALF:
            args, kwargs = _cast(args, torch.bfloat16), _cast(kwargs, torch.bfloat16)
        elif self.is_mixed and func in self.SINGLE:
            args, kwargs = _cast(args, torch.float32), _cast(kwargs, torch.float32)
        return func(*args, **kwargs)


class _FusedAttention(torch.autograd.Function):
    """Shapes of a fused attention kernel, which keeps its inputs, its output and a logarithm a query."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, H, L, D) each -> (B, H, L, D)."""
        out = torch.empty_like(q)
        ctx.save_for_backward(q, k, v, out, q.new_empty(q.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of the three inputs."""
        q, k, v, *_ = ctx.saved_tensors
        return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def _inside(run_block: Callable[..., Any], rules: _GpuRules) -> Callable[..., Any]:
    """A tower's way to run a block, with the block under ``rules`` whenever it is computed."""

    def run(block: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def ruled(*args: Any, **kwargs: Any) -> Any:
            with _GpuRules(is_mixed=rules.is_mixed):
                return block(*args, **kwargs)

        return run_block(ruled, *args, **kwargs)

    return run


def _cast(values: Any, dtype: torch.dtype) -> Any:
    def one(value: Any) -> Any:
        is_float = isinstance(value, Tensor) and value.is_floating_point()
        return value.to(dtype) if is_float else value

    if isinstance(values, Mapping):
        return {name: one(value) for name, value in values.items()}
    return tuple(one(value) for value in values)


def _shadow(tower: nn.Module) -> nn.Module:
    """A copy on the meta device, without copying a number."""
    tensors = [*tower.parameters(), *tower.buffers()]
    memo: dict[int, Any] = {}
    for tensor in tensors:
        empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
    return copy.deepcopy(tower, memo)


def _input_shape(tower: str, size: tuple[int, ...]) -> tuple[int, ...]:
    """Of one clip: (3, H, W) stills, (1, M, T) sounds, (1, H, W) maps, (6, steps) motion."""
    if tower == VISION:
        return (3, *size[1:])
    return (6, *size) if tower == "imu" else (1, *size)
