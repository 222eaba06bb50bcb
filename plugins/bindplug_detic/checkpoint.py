"""Read published weights: safely, and with every name accounted for."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bindplug.directories import first_line
from bindplug.errors import CheckpointError, WeightsNotFound
from bindplug.imagebind import open_safetensors, shorten
from bindplug_detic.config import DeticConfig
from bindplug_detic.network import DeticNetwork
from bindplug_detic.pickled import read_pickle
from bindplug_detic.swin import relative_position_index

ENTRY = "model"
"""Where training frameworks put the weights, beside the state of the optimizer."""

FREE = re.compile(
    r".*\.num_batches_tracked|roi_heads\.box_predictor\.\d+\.(cls_score\.zs_weight|freq_weight)"
    r"|backbone\.bottom_up\..*\.relative_position_index|backbone\.bottom_up\.base\.fc\.(weight|bias)"
)
"""Names that may be there or not: counters of training steps, the shipped classes, how often each class occurs in the
training data (for the loss), an index that follows from the window, and the layer that classified whole pictures."""

RESNET_STEM = "backbone.bottom_up.base.conv1.weight"
SWIN_STEM = "backbone.bottom_up.patch_embed.proj.weight"
CLASSES = "roi_heads.box_predictor.0.cls_score.zs_weight"
POSITIONS = ".attn.relative_position_index"


def read_official(path: str | Path) -> dict[str, Tensor]:
    """Every tensor of a published checkpoint by name, on the CPU.

    Args:
        path: a ``.pth`` of PyTorch, a ``.pkl`` of detectron2 or a ``.safetensors`` file. Nothing pickled but
            tensors, numpy arrays and plain containers is accepted.

    Raises:
        CheckpointError: the file is damaged, unsafe to read, or holds no weights.
        WeightsNotFound: there is no such file.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a directory; expected a checkpoint file (.pth, .pkl, .safetensors)")
    if not path.is_file():
        raise WeightsNotFound(f"there is no checkpoint at {path}")
    if path.suffix == ".safetensors":
        return open_safetensors(path)
    content = _open_archive(path) if zipfile.is_zipfile(path) else read_pickle(path)
    if isinstance(content, Mapping) and isinstance(content.get(ENTRY), Mapping):
        content = content[ENTRY]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"{path} holds no weights; expected names with tensors, alone or under {ENTRY!r}"
        )
    tensors: dict[int, Tensor] = {}  # by the identity of the value: what the file shares stays shared
    for name, value in content.items():
        tensors.setdefault(id(value), _as_tensor(_checked_name(name, path), value, path))
    return {name: tensors[id(value)] for name, value in content.items()}


def network_from_official(
    source: str | Path | Mapping[str, Tensor], config: DeticConfig | None = None
) -> DeticNetwork:
    """The network of a published checkpoint, float32, in evaluation mode.

    Args:
        source: a file for :func:`read_official`, or its result.
        config: the network's shape; None for the one of the two published shapes that has these names.

    Raises:
        CheckpointError: the file cannot be read, a tensor is missing, of another shape or not finite, or
            there are tensors that the network does not have.
        WeightsNotFound: there is no such file.
    """
    what = "the state dict" if isinstance(source, Mapping) else str(source)
    state = source if isinstance(source, Mapping) else read_official(source)
    config = config or _published_config(state, what)
    with torch.device("meta"):
        network = DeticNetwork(config)
    expected = {name: value for name, value in network.state_dict().items() if not FREE.fullmatch(name)}
    _account(state, expected, what)
    _check_positions(state, config, what)
    whole = {name: state[name].to(torch.float32) for name in expected}
    for name, value in network.state_dict().items():
        if name not in expected:  # the number of training steps of a norm, which computes nothing
            whole[name] = state.get(name, torch.zeros(value.shape, dtype=value.dtype))
    network.load_state_dict(whole, assign=True)
    return network.eval()


def official_zs_weight(state: Mapping[str, Tensor]) -> Tensor:
    """The class vectors of a checkpoint.

    Args:
        state: from :func:`read_official`.

    Returns:
        (C, D) float32 of unit length, without the background's zero row.

    Raises:
        CheckpointError: there are none, or their last column is not the background's.
    """
    columns = state.get(CLASSES)
    if columns is None or columns.ndim != 2 or columns.shape[1] < 2:
        raise CheckpointError(f"the checkpoint brings no class vectors (no {CLASSES}); give a vocabulary")
    rows = columns.float().T
    if rows[-1].any():
        raise CheckpointError(f"the last column of {CLASSES} is not the zeros of a background class")
    return torch.nn.functional.normalize(rows[:-1], dim=1)


def _open_archive(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds pickled code or objects besides tensors, which could run when read; refused. "
            f"Expected tensors in plain containers ({first_line(error)})"
        ) from error
    except Exception as error:
        reason = first_line(error)
        raise CheckpointError(f"{path} cannot be read: {reason}; download it again") from error


def _checked_name(name: object, path: Path) -> str:
    if not isinstance(name, str):
        label = repr(name)[:80] if isinstance(name, (int, float, bytes)) else f"a {type(name).__name__}"
        raise CheckpointError(f"{path} names a tensor {label}; expected text")
    return name


def _as_tensor(name: str, value: object, path: Path) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        # torch accepts the machine's byte order only
        return torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C", copy=False))
    raise CheckpointError(f"{path}: {name} holds a {type(value).__name__}; expected a tensor of numbers")


def _published_config(state: Mapping[str, Tensor], what: str) -> DeticConfig:
    if RESNET_STEM in state:
        return DeticConfig.resnet50()
    if SWIN_STEM in state:
        return DeticConfig.swin_b()
    raise CheckpointError(
        f"{what} is no published Detic network: it has neither {RESNET_STEM} nor {SWIN_STEM}. "
        f"Supported are the CenterNet2 networks with a ResNet-50 or a Swin-B"
    )


def _account(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    missing = [name for name in expected if name not in state]
    surplus = [name for name in state if name not in expected and not FREE.fullmatch(name)]
    shared = [name for name in expected if name in state]
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in shared
        if state[name].shape != expected[name].shape
    ]
    problems = [
        shorten("missing", missing),
        shorten("unexpected", surplus),
        shorten("of another shape", shapes),
    ]
    if any(problems):
        raise CheckpointError(
            f"{what} does not fit the network: {'; '.join(filter(None, problems))}. Is it a Detic checkpoint of "
            f"the CenterNet2 kind with a ResNet-50 or Swin-B, complete and not of another project?"
        )
    damaged = [name for name in shared if not state[name].isfinite().all()]
    if damaged:
        raise CheckpointError(f"{what} is damaged: {shorten('not finite', damaged)}")


def _check_positions(state: Mapping[str, Tensor], config: DeticConfig, what: str) -> None:
    """A stored index of relative positions must be the one that the network computes for itself."""
    expected = relative_position_index(config.swin_window)
    for name, index in state.items():
        if name.endswith(POSITIONS) and not torch.equal(index.long(), expected):
            raise CheckpointError(f"{what}: {name} does not belong to windows of {config.swin_window} tokens")
