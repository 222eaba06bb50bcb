"""Where a model runs and in which number format: names from a person to torch's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bindplug.errors import InputError

if TYPE_CHECKING:
    import torch

AUTO = "auto"
DTYPES = {
    "float32": "float32",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "fp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
}
"""Names of the number formats of weights, and their aliases -> torch's names."""


def resolve_device(device: str | torch.device) -> torch.device:
    """A device that exists on this machine.

    Args:
        device: ``"auto"`` for the first CUDA device, else Apple's ``"mps"``, else ``"cpu"``; or a torch device or its
            name, as ``"cuda:1"``.

    Raises:
        InputError: there is no such device here. The message names those there are.
    """
    import torch

    if device == AUTO:
        return torch.device(available_devices()[0])
    try:
        torch_device = torch.device(device)
        torch.empty(0, device=torch_device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = (
            str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        )
        raise InputError(
            "device",
            found=f"{str(device)!r} ({reason})",
            expected=f"a device of this machine ({', '.join(available_devices())}), or auto",
        ) from None
    return torch_device


def available_devices() -> list[str]:
    """Names of this machine's devices, the fastest kind first; the last is ``"cpu"``."""
    import torch

    devices = (
        [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def describe_device(device: torch.device) -> str:
    """The device's name, and for a CUDA device the card's, as ``"cuda:0 (NVIDIA H100)"``."""
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def resolve_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """A floating-point dtype by torch's name or an alias in :data:`DTYPES`; None for None and ``"auto"``.

    Raises:
        InputError: it is none.
    """
    import torch

    if dtype is None or dtype == AUTO:
        return None
    name = dtype.removeprefix("torch.") if isinstance(dtype, str) else ""
    torch_dtype = getattr(torch, DTYPES.get(name, name), None) if name else dtype
    if not isinstance(torch_dtype, torch.dtype) or not torch_dtype.is_floating_point:
        raise InputError(
            "dtype",
            found=repr(dtype),
            expected='"float32", "float16", "bfloat16" (or fp32, fp16, bf16), or "auto"',
        )
    return torch_dtype
