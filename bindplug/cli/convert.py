"""``bindplug convert``: weights between the layouts that are in use."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bindplug.cli.options import DTYPE_ALIASES, DtypeName, output_options, split_names
from bindplug.errors import CheckpointError
from bindplug.files import staged_file
from bindplug.modality import Modality

if TYPE_CHECKING:
    from torch import Tensor

    from bindplug.imagebind import ImageBind, ImageBindConfig

OPEN_CLIP_TOWERS = ("vision", "text")
LAYOUTS = ("directory", "official", "open-clip")
SUFFIXES = {"official": (".pth", ".pt"), "open-clip": (".pt", ".pth", ".safetensors")}


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option(
    "--to",
    "layout",
    type=click.Choice(LAYOUTS),
    default="directory",
    show_default=True,
    help="directory: a file a tower, loads fastest; official: the original's .pth, and for other networks than the "
    "published one a .config.json beside it; open-clip: image and text towers.",
)
@click.option(
    "--from",
    "origin",
    type=click.Choice(["imagebind", "open-clip"]),
    default="imagebind",
    show_default=True,
    help="What SRC is: ImageBind in any layout (a path or a model's name), or an open_clip state dict.",
)
@click.option(
    "--modalities",
    multiple=True,
    metavar="A,B,...",
    help="Only these, joined by commas, e.g. image,audio; all by default. Repeatable.",
)
@click.option(
    "--dtype",
    type=DtypeName(),
    help=f"Convert the weights to this; kept as they are by default. {DTYPE_ALIASES} are understood too.",
)
@click.option(
    "--config", "config_file", metavar="FILE", help="The network's shape as JSON, where weights don't tell."
)
@click.option(
    "--license", help="License of the weights for the directory's card; SRC's own where it is known."
)
@click.option("--overwrite", is_flag=True, help="Replace DST if it exists.")
@output_options
def convert(
    source: str,
    destination: str,
    layout: str,
    origin: str,
    modalities: tuple[str, ...],
    dtype: str | None,
    config_file: str | None,
    license: str | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Convert weights between layouts: SRC to DST.

    \b
    bindplug convert imagebind_huge.pth ~/.cache/bindplug/imagebind_huge --dtype float16
    bindplug convert imagebind_huge.pth vit_h_14.safetensors --to open-clip
    """
    names = _modalities(modalities)
    target = Path(destination)
    _check_destination(target, layout, overwrite)
    config = _read_config(config_file) if config_file else None
    model = _open_clip_model(source, config) if origin == "open-clip" else _model(source, names, config)
    towers = [tower for tower in model.towers if layout != "open-clip" or tower in OPEN_CLIP_TOWERS]
    if layout == "open-clip" and len(towers) < len(OPEN_CLIP_TOWERS):
        raise click.UsageError(
            "--to open-clip writes the image and text towers; load both (--modalities image,text)"
        )
    _write(model, target, layout, dtype, overwrite, license or license_of(source, model), source)
    report: dict[str, Any] = {
        "source": source,
        "destination": str(target),
        "layout": layout,
        "towers": towers,
        "size_bytes": _size_of(target),
    }
    if as_json:
        click.echo(json.dumps(report, indent=2))
    elif not quiet:
        size = report["size_bytes"] / 1e6
        click.echo(f"{target}: {layout} layout, towers {', '.join(towers)}, {size:.1f} MB", err=True)


def license_of(source: str, model: ImageBind) -> str:
    """The license of the weights as far as SRC or the registered models tell; else empty."""
    from bindplug.imagebind import ImageBindConfig, read_manifest
    from bindplug.models import list_models

    cards = {card.name: card for card in list_models()}
    if source in cards:
        return cards[source].license
    if Path(source).is_dir():
        return str(read_manifest(source).get("license", ""))
    published = cards.get("imagebind_huge")
    return published.license if published and model.config == ImageBindConfig.huge() else ""


def _modalities(values: Sequence[str]) -> set[str] | None:
    names = set(split_names(values))
    all_names = [m.value for m in Modality]
    if values and (not names or names - set(all_names)):
        raise click.BadParameter(
            f"{', '.join(values)!r}; known: {', '.join(all_names)}", param_hint="--modalities"
        )
    return names or None


def _check_destination(target: Path, layout: str, overwrite: bool) -> None:
    if layout in SUFFIXES and target.suffix not in SUFFIXES[layout]:
        raise click.UsageError(
            f"DST of layout {layout} must end in {' or '.join(SUFFIXES[layout])}, found {target.name!r}"
        )
    if target.exists() and not overwrite:
        raise click.UsageError(f"{target} exists; choose another place, or say --overwrite")


def _read_config(path: str) -> ImageBindConfig:
    from bindplug.imagebind import ImageBindConfig

    try:
        description = json.loads(Path(path).read_text(encoding="utf-8"))
        description = description.get("config", description)
        plain = isinstance(description.get("vision"), dict)
        return ImageBindConfig.from_dict(description) if plain else ImageBindConfig.from_official(description)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} does not describe a network: {error}") from None


def _model(source: str, modalities: Collection[str] | None, config: ImageBindConfig | None) -> ImageBind:
    from bindplug.imagebind import ImageBind
    from bindplug.models import load

    path = Path(source)
    if config is not None and path.is_file():
        return ImageBind.from_official(path, config, modalities=modalities)
    model = load(source, modalities=modalities, dtype="auto")
    if not isinstance(model, ImageBind):
        raise CheckpointError(
            f"{source} is a {type(model).__name__}; only ImageBind's weights can be converted"
        )
    return model


def _open_clip_model(source: str, config: ImageBindConfig | None) -> ImageBind:
    from bindplug.imagebind import ImageBind, from_open_clip

    return ImageBind.from_official(
        from_open_clip(_read_state(Path(source))), config, modalities={"image", "text"}
    )


def _read_state(path: Path) -> Mapping[str, Tensor]:
    """A plain state dict from a safetensors or PyTorch file; never runs code that a file holds."""
    import pickle
    import zipfile

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {path}") from None
    except (
        OSError,
        ValueError,
        RuntimeError,
        SafetensorError,
        pickle.UnpicklingError,
        EOFError,
        zipfile.BadZipFile,
    ):
        raise CheckpointError(
            f"{path} cannot be read as a state dict: it is damaged, or holds more than tensors"
        ) from None
    return state.get("state_dict", state) if isinstance(state, dict) else {}


def _write(
    model: ImageBind, target: Path, layout: str, dtype: str | None, overwrite: bool, license: str, source: str
) -> None:
    import torch

    from bindplug.imagebind import save_directory, to_open_clip
    from bindplug.imagebind.sidecar import is_published, write_sidecar

    torch_dtype = getattr(torch, dtype) if dtype else None
    if layout == "directory":
        save_directory(
            model, target, dtype=torch_dtype, license=license, source=Path(source).name, overwrite=overwrite
        )
        return
    state = model.official_state_dict()
    if layout == "open-clip":
        state = to_open_clip(state)
    scales = ("logit_scale",)
    state = {
        n: t.detach() if torch_dtype is None or n.endswith(scales) else t.detach().to(torch_dtype)
        for n, t in state.items()
    }
    _save_state(state, target)
    if layout == "official" and not is_published(model.config):
        write_sidecar(model, target)


def _save_state(state: Mapping[str, Any], target: Path) -> None:
    import torch
    from safetensors.torch import save_file

    with staged_file(target) as temporary:
        if target.suffix == ".safetensors":
            save_file({n: t.contiguous() for n, t in state.items()}, temporary)
        else:
            torch.save(dict(state), temporary)
        temporary.chmod(0o644)  # safetensors writes for the owner alone


def _size_of(path: Path) -> int:
    files = list(path.iterdir()) if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
