"""``bindplug.load("open_clip:NAME:TAG")``: CLIPs of open_clip as encoders."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from bindplug.errors import CheckpointError, MissingDependency, UnknownModel, WeightsNotFound
from bindplug.foreign import ForeignEncoder, as_scale, fetch_snapshot, hub_errors, license_of, opening
from bindplug.inputs import ModelInput, PicturePreprocess, Preprocess, SentencePreprocess
from bindplug.lazy import require

SCHEME = "open_clip"
HUB = "hf-hub:"
FORM = "open_clip:NAME:TAG, open_clip:NAME:FILE, open_clip:hf-hub:OWNER/NAME or open_clip:./DIRECTORY"
DIRECTORIES_SINCE = 3
"""Major version of open_clip that is the first to open a directory."""

CLOSEST = 5
"""Names of other architectures or tags that an error lists."""


class TokenizeText:
    """A text to token ids.

    Args:
        tokenizer: open_clip's, of the model.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, text: str) -> tuple[Tensor, int]:
        """(L,) ids of one text, and the number of its tokens before it was cut."""
        return self.tokenizer([text])[0], self._count(text)

    def _count(self, text: str) -> int:
        inner = getattr(self.tokenizer, "tokenizer", None)
        if inner is not None:  # a tokenizer of transformers
            return len(inner(text, verbose=False)["input_ids"])
        encode = getattr(self.tokenizer, "encode", None)
        return len(encode(text)) + 2 if encode else 0


class ProcessPicture:
    """A picture to normalized pixels.

    Args:
        transform: open_clip's, of the model.
    """

    def __init__(self, transform: Callable[[Image.Image], Tensor]) -> None:
        self.transform = transform

    def __call__(self, picture: Image.Image) -> Tensor:
        """(3, H, W) float32."""
        return self.transform(picture)


class OpenClipFamily:
    """How a CLIP of open_clip is used.

    Args:
        network: the model.
        transform: its own, of pictures.
        tokenizer: its own.
    """

    modalities: tuple[str, ...] = ("image", "text")

    def __init__(self, network: Any, transform: Callable[[Image.Image], Tensor], tokenizer: Any) -> None:
        limit = getattr(tokenizer, "context_length", None)
        self.preprocess: Mapping[str, Preprocess] = {
            "image": PicturePreprocess(ProcessPicture(transform)),
            "text": SentencePreprocess(TokenizeText(tokenizer), limit=int(limit) if limit else None),
        }
        with torch.inference_mode():
            self.width = int(network.encode_text(tokenizer(["a dog"])).shape[-1])

    def rows(self, network: Any, modality: str, x: ModelInput) -> Tensor:
        """(B, D) rows of pictures or texts."""
        rows: Tensor = network.encode_image(x) if modality == "image" else network.encode_text(x)
        return rows

    def scale(self, network: Any, modality: str) -> float | None:
        """The trained scale; 1 among images."""
        return 1.0 if modality == "image" else as_scale(getattr(network, "logit_scale", None))


def load(
    name: str, *, modalities: Collection[str] | None, device: torch.device, dtype: torch.dtype | None
) -> ForeignEncoder:
    """An encoder of an open_clip model.

    Args:
        name: ``NAME:TAG``, ``NAME:FILE``, ``hf-hub:OWNER/NAME``, or a directory with ``open_clip_config.json``.
        modalities, device, dtype: as in :func:`bindplug.load`.

    Raises:
        UnknownModel: open_clip knows no such architecture, or no such tag of it.
        WeightsNotFound: there is no such directory or file, or the weights cannot be fetched.
        CheckpointError: the files are damaged, or another architecture's.
        MissingDependency: open_clip is absent.
        InputError: one of ``modalities`` is neither image nor text.
    """
    open_clip = require("open_clip", owner=f"{SCHEME}:{name}", extra="open-clip")
    architecture, colon, tag = name.partition(":")
    if name.startswith(HUB):
        directory = fetch_snapshot(name.removeprefix(HUB), scheme=f"{SCHEME}:{HUB[:-1]}")
        network, transform, tokenizer = _of_directory(open_clip, directory, name)
        space, license = name.removeprefix(HUB), license_of(directory)
        space = f"{SCHEME}:{HUB}{space}"
    elif not colon or Path(name).expanduser().is_dir():
        if architecture in open_clip.list_models() and not Path(name).expanduser().exists():
            tags = open_clip.list_pretrained_tags_by_model(architecture)
            raise UnknownModel(
                f"{SCHEME}:{name} names no weights; expected {SCHEME}:{name}:TAG with one of "
                f"{', '.join(tags) or 'none'}, or a weight file"
            )
        directory = fetch_snapshot(name, scheme=SCHEME)
        network, transform, tokenizer = _of_directory(open_clip, directory, name)
        space, license = f"{SCHEME}:{directory.name}", license_of(directory)
    else:
        network, transform, tokenizer = _of_tag(open_clip, architecture, tag)
        file = Path(tag).expanduser()
        space, license = f"{SCHEME}:{architecture}:{file.stem if file.is_file() else tag}", ""
    with opening(f"{SCHEME}:{name}"):
        family = OpenClipFamily(network, transform, tokenizer)
    network = network.eval().to(device) if dtype is None else network.eval().to(device, dtype)
    return ForeignEncoder(network, family, space=space, modalities=modalities, license=license)


def _of_directory(open_clip: Any, directory: Path, name: str) -> tuple[Any, Any, Any]:
    if not (directory / "open_clip_config.json").is_file():
        raise CheckpointError(
            f"{SCHEME}:{name}: there is no open_clip_config.json in {str(directory)!r}; expected a repository of "
            f"open_clip (models of transformers are loaded as transformers:{name.removeprefix(HUB)})"
        )
    if int(open_clip.__version__.split(".")[0]) < DIRECTORIES_SINCE:
        raise MissingDependency(
            f"{SCHEME}:{name}",
            f'"open_clip_torch>={DIRECTORIES_SINCE}"',
            extra="",
            reason=f"{open_clip.__version__} opens no directories",
        )
    with opening(f"{SCHEME}:{name}"):
        network, transform = open_clip.create_model_from_pretrained(f"local-dir:{directory}")
        return network, transform, open_clip.get_tokenizer(f"local-dir:{directory}")


def _of_tag(open_clip: Any, architecture: str, tag: str) -> tuple[Any, Any, Any]:
    if architecture not in open_clip.list_models():
        close = _closest(architecture, open_clip.list_models())
        raise UnknownModel(f"{SCHEME} lists no architecture {architecture!r}; expected {FORM}{close}")
    file = Path(tag).expanduser()
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if not file.is_file() and tag not in tags:
        if "/" in tag or "\\" in tag or file.suffix:
            raise WeightsNotFound(f"{SCHEME}:{architecture}: there is no weight file {str(file)!r}")
        raise UnknownModel(
            f"{SCHEME} lists no weights {tag!r} of {architecture}; expected one of {', '.join(tags) or 'none'}, or a "
            f"weight file"
        )
    name = f"{architecture}:{tag}"

    def create() -> tuple[Any, Any, Any]:
        network, _, transform = open_clip.create_model_and_transforms(
            architecture, pretrained=str(file) if file.is_file() else tag
        )
        return network, transform, open_clip.get_tokenizer(architecture)

    if file.is_file():
        with opening(f"{SCHEME}:{name}"):
            return create()
    hub = str(open_clip.get_pretrained_cfg(architecture, tag).get("hf_hub") or "").strip("/").split("/")
    weights = "/".join(hub[2:]) or "open_clip_model.safetensors"
    with hub_errors(name, scheme=SCHEME, repository="/".join(hub[:2]), file=f"{architecture}:DIR/{weights}"):
        return create()


def _closest(name: str, names: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, names, CLOSEST)
    return f". Did you mean {', '.join(close)}?" if close else ""
