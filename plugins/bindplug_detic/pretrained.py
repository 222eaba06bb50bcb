"""Where the weights of a detector are, and in which dtype they run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bindplug.errors import WeightsNotFound
from bindplug.models import find_model, list_models

if TYPE_CHECKING:
    from bindplug_detic.network import DeticNetwork

TOOL = "detector"
FILE_SUFFIXES = (".pth", ".pt", ".pkl", ".bin", ".safetensors", ".json")


def locate(path_or_name: str | Path) -> Path:
    """The file or directory that is meant; a registered name comes before a path of that name.

    Raises:
        UnknownModel: neither a registered name nor a path.
        WeightsNotFound: there is no such file or directory.
    """
    if isinstance(path_or_name, str) and path_or_name in {card.name for card in list_models(TOOL)}:
        return find_model(path_or_name, tool=TOOL)
    path = Path(path_or_name).expanduser()
    if path.exists():
        return path.parent if path.name == "config.json" else path
    written = str(path_or_name)
    if isinstance(path_or_name, Path) or "/" in written or "\\" in written or path.suffix in FILE_SUFFIXES:
        names = ", ".join(card.name for card in list_models(TOOL)) or "none"
        raise WeightsNotFound(
            f"there is no file or directory {str(path)!r} (from {str(Path.cwd())!r}); give Detic's checkpoint "
            f"(.pth or .pkl), a directory of bindplug_detic, or a name: {names}"
        )
    return find_model(written, tool=TOOL)


def suited_dtype(network: DeticNetwork, device: torch.device | str) -> torch.dtype | None:
    """Float32 for float16 weights on the CPU, where that is slower; else None, for the stored dtype."""
    stored = next(network.parameters()).dtype
    is_slow = torch.device(device).type == "cpu" and stored == torch.float16
    return torch.float32 if is_slow else None
