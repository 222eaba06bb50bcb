"""Read an official checkpoint: strictly, safely, and only the towers asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bindplug.errors import CheckpointError
from bindplug.imagebind.archive import listed, open_official, verify_checksums
from bindplug.imagebind.config import ImageBindConfig, asked_towers, default_space
from bindplug.imagebind.infer import infer_config
from bindplug.imagebind.mapped_pages import MappedPages
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
from bindplug.space import IMAGEBIND_SPACE, EmbeddingSpace

if TYPE_CHECKING:
    from bindplug.imagebind.model import ImageBind


def load_official(
    source: Mapping[str, Tensor] | str | Path,
    config: ImageBindConfig | None = None,
    *,
    modalities: Collection[str] | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> ImageBind:
    """See :meth:`ImageBind.from_official`."""
    towers = asked_towers(modalities)
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
    names = asked_towers(towers)
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
    """A model in evaluation mode that holds ``named``, without initializing or copying what needs neither.

    What is converted is let go of in the file that it is mapped from: memory peaks at the model's own size.
    Output scales stay float32: a rounded logarithm would change every logit.
    """
    from bindplug.imagebind.model import ImageBind, default_logit_scale

    model = ImageBind(config, list(towers), device="meta", **options)
    ours = from_official(named, config)
    ours.setdefault(LOGIT_SCALE, default_logit_scale())
    placed, pages = {}, MappedPages()
    for name, tensor in ours.items():
        exact = name.endswith(("log_scale", LOGIT_SCALE))
        placed[name] = tensor.detach().to(device, torch.float32 if exact else dtype)
        if placed[name].data_ptr() != tensor.data_ptr():
            pages.release(tensor)
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
        *_missing(shapes, config, towers),
        listed("unexpected", [str(name) for name in shapes if name not in expected]),
        listed("of wrong shape", wrong),
        listed("not floating-point", inexact),
    ]
    if any(problems):
        raise CheckpointError(f"{what} does not hold this network; {'; '.join(filter(None, problems))}")
    return config


def check_mask(mask: Tensor, what: str) -> None:
    """Return if the stored text mask is the causal one that the text tower computes.

    Raises:
        CheckpointError: it is another.
    """
    if not torch.equal(mask, causal_mask(len(mask), mask)):
        raise CheckpointError(f"{what}: {TEXT_MASK} is not a causal mask (0 up to the diagonal, -inf above)")


def _cloned(name: str, value: Any, towers: Collection[str]) -> Any:
    asked = tower_of(str(name)) in towers or name == TEXT_SCALE
    return value.detach().clone() if asked and isinstance(value, Tensor) else value


def _missing(shapes: Collection[str], config: ImageBindConfig, towers: Collection[str]) -> list[str]:
    """What is absent: whole towers by their names, the rest tensor by tensor."""
    held = {tower_of(name) for name in shapes}
    absent = [tower for tower in towers if tower not in held]
    names = [name for name in names_of(config, towers) if name not in shapes and tower_of(name) in held]
    whole = f"nothing of the towers {', '.join(absent)} (ask for modalities it has)" if absent else ""
    return [whole, listed("missing", names)]
