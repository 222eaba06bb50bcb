"""Read an official checkpoint: strictly, safely, and only the towers asked for."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bindplug.errors import CheckpointError, WeightsNotFound
from bindplug.imagebind.config import ImageBindConfig, default_space
from bindplug.imagebind.infer import infer_config
from bindplug.imagebind.names import (
    LOGIT_SCALE,
    TEXT_MASK,
    TEXT_SCALE,
    causal_mask,
    expected_shapes,
    from_official,
    names_of,
    tower_of,
)
from bindplug.imagebind.safe_tensors import open_safetensors
from bindplug.modality import towers_of
from bindplug.space import IMAGEBIND_SPACE, EmbeddingSpace

if TYPE_CHECKING:
    from bindplug.imagebind.model import ImageBind

LEGACY_PICKLE = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""First bytes of PyTorch's format before 1.6: a pickled magic number, 0x1950A86A20F9469CFC6C."""

SHOWN_NAMES = 20
"""Most names of one kind that an error lists."""


def load_official(
    source: Mapping[str, Tensor] | str | Path,
    config: ImageBindConfig | None = None,
    *,
    modalities: Collection[str] | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> ImageBind:
    """See :meth:`ImageBind.from_official`."""
    towers = towers_of(None if modalities is None else list(modalities))
    if isinstance(source, Mapping):
        # The caller's tensors stay the caller's: training the model must not change them.
        what, state = "the state dict", {name: _cloned(name, t, towers) for name, t in source.items()}
    else:
        what, state = str(source), open_official(source)
    config = account(state, towers, config, what=what)
    wanted = {name: state[name] for name in names_of(config, towers)}
    if TEXT_SCALE in state:
        wanted[TEXT_SCALE] = state[TEXT_SCALE]
    if not isinstance(source, Mapping):
        verify_checksums(source, wanted)
    if TEXT_MASK in wanted:
        check_mask(wanted[TEXT_MASK], what)
    space = space_of(config, wanted)
    return assemble(wanted, config, towers, device=device, dtype=dtype, space=space)


def read_official(
    path: str | Path,
    towers: Collection[str] | None = None,
    config: ImageBindConfig | None = None,
) -> dict[str, Tensor]:
    """The tensors of some towers of an official checkpoint, mapped from the file and checked.

    Args:
        path: the ``.pth`` or ``.safetensors`` file.
        towers: names of towers or modalities; all for None.
        config: needed only where shapes do not tell the number of heads.

    Returns:
        Official names -> CPU tensors, read from disk as they are used.

    Raises:
        CheckpointError: the file is damaged, incomplete, unsafe, or of another network.
        WeightsNotFound: there is no such file.
    """
    names = towers_of(None if towers is None else list(towers))
    state = open_official(path)
    found = account(state, names, config, what=str(path))
    wanted = {name: state[name] for name in names_of(found, names)}
    verify_checksums(path, wanted)
    return wanted


def assemble(
    named: Mapping[str, Tensor],
    config: ImageBindConfig,
    towers: Collection[str],
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    **options: Any,
) -> ImageBind:
    """A model in evaluation mode that holds ``named``, without initialising or copying what needs neither.

    Output scales stay float32: a rounded logarithm would change every logit.
    """
    from bindplug.imagebind.model import ImageBind, default_logit_scale

    model = ImageBind(config, list(towers), device="meta", **options)
    ours = from_official(named, config)
    ours.setdefault(LOGIT_SCALE, default_logit_scale())
    placed = {
        name: tensor.detach().to(
            device, torch.float32 if name.endswith(("log_scale", LOGIT_SCALE)) else dtype
        )
        for name, tensor in ours.items()
    }
    model.load_state_dict(placed, assign=True)
    return model.eval()


def space_of(config: ImageBindConfig, named: Mapping[str, Tensor]) -> EmbeddingSpace:
    """The space of a checkpoint: ImageBind's for the published shape, else one told apart by its weights."""
    space = default_space(config)
    projection = named.get("modality_heads.text.proj.1.weight")
    if space == IMAGEBIND_SPACE or projection is None:
        return space
    content = projection.detach().to("cpu", torch.float32).contiguous().numpy()
    return EmbeddingSpace(space.name, space.width, hashlib.sha256(content.data).hexdigest())


def copy_official(model: ImageBind, state: Mapping[str, Tensor]) -> None:
    """See :meth:`ImageBind.load_official`."""
    towers = tuple(model.towers)
    account(state, towers, model.config)
    wanted = {name: state[name] for name in names_of(model.config, towers)}
    if TEXT_SCALE in state:
        wanted[TEXT_SCALE] = state[TEXT_SCALE]
    if TEXT_MASK in wanted:
        check_mask(wanted[TEXT_MASK], "the state dict")
    model.load_state_dict({LOGIT_SCALE: model.logit_scale} | from_official(wanted, model.config))


def open_official(path: str | Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint file by name, mapped, not read.

    Raises:
        CheckpointError: it is empty, damaged, unsafe to read, or no state dict.
        WeightsNotFound: there is no such file.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a directory; expected a checkpoint file such as imagebind_huge.pth")
    if not path.is_file():
        raise WeightsNotFound(f"there is no checkpoint at {path}")
    state = open_safetensors(path) if path.suffix == ".safetensors" else _open_pth(path)
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path} is not a flat state dict: {name!r} holds a {type(value).__name__}, expected a tensor"
            )
    return state


def account(
    state: Mapping[str, Tensor],
    towers: Collection[str],
    config: ImageBindConfig | None = None,
    *,
    what: str = "the state dict",
) -> ImageBindConfig:
    """Account for every name of a state dict, and return the config it has.

    Names of towers that are not asked for may be absent, but must be right where they are present.

    Raises:
        CheckpointError: names are missing or unexpected, or shapes are wrong; they are listed.
    """
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"{what}: {name!r} holds a {type(value).__name__}, expected a tensor")
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if not any(tower_of(str(name)) for name in shapes):
        first = ", ".join(map(repr, list(shapes)[:3])) or "nothing"
        raise CheckpointError(
            f"{what} is not an ImageBind state dict: it holds {first}; expected modality_… names"
        )
    config = config or infer_config(shapes, what=what)
    expected = expected_shapes(config)
    wrong = [
        f"{name} is {list(shapes[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]
    inexact = [
        f"{name} is {tensor.dtype}" for name, tensor in state.items() if not tensor.is_floating_point()
    ]
    problems = [
        _listed("missing", [name for name in names_of(config, towers) if name not in shapes]),
        _listed("unexpected", [str(name) for name in shapes if name not in expected]),
        _listed("of wrong shape", wrong),
        _listed("not floating-point", inexact),
    ]
    if any(problems):
        raise CheckpointError(f"{what} does not hold this network; {'; '.join(filter(None, problems))}")
    return config


def verify_checksums(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Compare tensors with the checksums that a ``.pth`` archive keeps of its records.

    Raises:
        CheckpointError: tensors were damaged after the file was written; they are listed.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        known = {(record.CRC, record.file_size) for record in archive.infolist()}
    damaged = [name for name, tensor in tensors.items() if _checksum(tensor) not in known]
    # An archive written without checksums matches nowhere, and says nothing about damage.
    if damaged and len(damaged) < len(tensors):
        raise CheckpointError(f"{path} is damaged; {_listed('not as written', damaged)}. Download it again")


def check_mask(mask: Tensor, what: str) -> None:
    """Return if the stored text mask is the causal one that the text tower computes.

    Raises:
        CheckpointError: it is another.
    """
    if not torch.equal(mask, causal_mask(len(mask), mask)):
        raise CheckpointError(f"{what}: {TEXT_MASK} is not a causal mask (0 up to the diagonal, -inf above)")


def _open_pth(path: Path) -> dict[str, Tensor]:
    size = path.stat().st_size
    if size == 0:
        raise CheckpointError(f"{path} is empty; download it again")
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            start = file.read(64)
        if start.startswith(LEGACY_PICKLE):
            raise CheckpointError(
                f"{path} is in PyTorch's format from before 1.6, which cannot be mapped; save it again with "
                f"torch.save(torch.load({path.name!r}, weights_only=True), ...) of a newer PyTorch"
            )
        if start.startswith(b"PK"):
            raise CheckpointError(
                f"{path} is truncated: its {size} bytes lack the archive's end; download it again"
            )
        raise CheckpointError(f"{path} is not a PyTorch checkpoint (it starts with {start[:8]!r})")
    _check_index(path)
    try:
        state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds pickled code or objects besides tensors, which could run when read; refused. "
            f"Expected a plain state dict ({str(error).splitlines()[0]})"
        ) from error
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read: {str(error).splitlines()[0]}; download it again"
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}; expected a state dict")
    return state


def _check_index(path: Path) -> None:
    """The archive's own index of tensors must be whole before anything is unpickled from it."""
    try:
        with zipfile.ZipFile(path) as archive:
            index = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if not index:
                raise CheckpointError(
                    f"{path} is an archive, but not a PyTorch checkpoint: it has no data.pkl"
                )
            archive.read(index[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); download it again") from error


def _checksum(tensor: Tensor) -> tuple[int, int]:
    storage = tensor.untyped_storage()
    content = torch.empty(0, dtype=torch.uint8).set_(storage)
    return zlib.crc32(content.numpy().data), storage.nbytes()


def _cloned(name: str, value: Any, towers: Collection[str]) -> Any:
    asked = tower_of(str(name)) in towers or name == TEXT_SCALE
    return value.detach().clone() if asked and isinstance(value, Tensor) else value


def _listed(kind: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return f"{len(names)} {kind}: {', '.join(names[:SHOWN_NAMES])}{more}"
