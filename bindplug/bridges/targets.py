"""Text encoders of other libraries, and files of class vectors, as sides of a bridge."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bindplug.bridges.fitting import TextEmbedder
from bindplug.bridges.pairs import unit_rows
from bindplug.errors import CheckpointError, InputError, WeightsNotFound
from bindplug.lazy import require
from bindplug.space import EmbeddingSpace

FORMS = "open_clip:NAME:TAG, transformers:ID, or FILE.npy with names"


def open_target(
    spec: str, *, names: Sequence[str] | None = None, space: str | None = None, device: str = "cpu"
) -> TextEmbedder:
    """The side of a bridge that a command line names.

    Args:
        spec: ``"open_clip:ViT-B-32:openai"`` (the last part a tag or a weight file),
            ``"transformers:openai/clip-vit-base-patch32"`` (a hub name or a directory), or ``"vectors.npy"``.
        names: of the rows of an ``.npy`` file, in order.
        space: name of the space the rows live in, where the origin does not tell: a file of vectors, say.
        device: where an encoder runs.

    Raises:
        InputError: the text is of none of these forms, or names are missing or out of place.
        MissingDependency: the library is not installed.
        WeightsNotFound: its weights are not on this machine and cannot be fetched.
        CheckpointError: a file is damaged.
    """
    target = _opened(spec, names, device)
    if space is not None:
        target.embedding_space = EmbeddingSpace(space, target.embedding_space.width)
    return target


def _opened(spec: str, names: Sequence[str] | None, device: str) -> TextEmbedder:
    library, _, rest = spec.partition(":")
    if spec.endswith(".npy"):
        return VectorFile(spec, names)
    if names is not None:
        problem = f"names for {spec!r}"
        raise InputError(
            "--target", found=problem, expected="names with FILE.npy only; encoders take any text"
        )
    if library == "open_clip" and rest.count(":") >= 1:
        return OpenClipText(*rest.split(":", 1), device=device)
    if library == "transformers" and rest:
        return TransformersText(rest, device=device)
    raise InputError("--target", found=repr(spec), expected=FORMS)


class VectorFile:
    """Vectors computed by someone else, one for each of some names: a detector's class vectors, say.

    Args:
        path: an ``.npy`` file of shape (N, D).
        names: the N names, in the order of the rows.

    Raises:
        InputError: no names, or not one a row; rows that are no finite numbers.
        WeightsNotFound: there is no such file.
        CheckpointError: it is no ``.npy`` file of numbers.
    """

    def __init__(self, path: str | Path, names: Sequence[str] | None) -> None:
        rows = _read_vectors(Path(path).expanduser())
        if names is None or len(names) != len(rows):
            problem = "no names" if names is None else f"{len(names)} names"
            raise InputError(
                str(path),
                found=f"{problem} for its {len(rows)} rows",
                expected="one name for every row, in order",
            )
        width = rows.shape[1]
        unit = unit_rows(rows, width, str(path))
        self.names = tuple(names)
        self._rows = dict(zip(names, unit, strict=True))
        if len(self._rows) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise InputError(
                str(path), found=f"names that occur twice: {twice[:5]}", expected="each name once"
            )
        self.embedding_space = EmbeddingSpace(f"file:{Path(path).name}", width)
        self.description = f"{len(rows)} vectors of {Path(path).name}"

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """(N, D) unit rows of N of the names.

        Raises:
            InputError: a text is none of the names.
        """
        unknown = [text for text in texts if text not in self._rows]
        if unknown:
            raise InputError(self.description, found=f"the text {unknown[0]!r}", expected="one of its names")
        return torch.stack([self._rows[text] for text in texts])


class OpenClipText:
    """The text side of an open_clip model.

    Args:
        name: of the architecture.
        tag: of pretrained weights, or the path of a weight file.
        device: where it runs.

    Raises:
        MissingDependency, InputError, WeightsNotFound: as :func:`open_target`.
    """

    def __init__(self, name: str, tag: str, *, device: str = "cpu") -> None:
        open_clip = require("open_clip", owner="fitting a bridge to it", extra="open-clip")
        file = Path(tag).expanduser()
        tags = open_clip.list_pretrained_tags_by_model(name)
        if name not in open_clip.list_models():
            raise InputError(
                "--target", found=f"the architecture {name!r}", expected="one that open_clip lists"
            )
        if not file.is_file() and tag not in tags:
            expected = f"one of {', '.join(tags) or 'none'}, or a weight file"
            raise InputError("--target", found=f"the tag {tag!r} for {name}", expected=expected)
        model = _fetched(
            f"open_clip's weights {tag!r} of {name}",
            f"place the weight file here and say open_clip:{name}:PATH",
            lambda: open_clip.create_model(
                name, pretrained=str(file) if file.is_file() else tag, device=device
            ),
        )
        self._model, self._device = model.eval(), device
        self._tokenizer = open_clip.get_tokenizer(name)
        label = file.stem if file.is_file() else tag
        self.embedding_space = EmbeddingSpace(f"open_clip:{name}:{label}", _width(self.embed_texts))
        self.description = f"open_clip {name}, weights {label}"

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """(N, D) rows of N texts."""
        with torch.inference_mode():
            rows: Tensor = self._model.encode_text(self._tokenizer(list(texts)).to(self._device))
            return rows.float().clone()


class TransformersText:
    """The text side of a CLIP-like model of transformers.

    Args:
        name: on the hub, or a directory.
        device: where it runs.

    Raises:
        MissingDependency, InputError, WeightsNotFound: as :func:`open_target`.
    """

    def __init__(self, name: str, *, device: str = "cpu") -> None:
        transformers = require("transformers", owner="fitting a bridge to it", extra="transformers")

        def read() -> tuple[Any, Any]:
            config = transformers.AutoConfig.from_pretrained(name)
            text_only = "CLIPTextModelWithProjection" in (config.architectures or ())
            kind = transformers.CLIPTextModelWithProjection if text_only else transformers.AutoModel
            return transformers.AutoTokenizer.from_pretrained(name), kind.from_pretrained(name)

        remedy = "fetch it on a machine with a network and say transformers:DIRECTORY"
        self._tokenizer, model = _fetched(f"the transformers model {name!r}", remedy, read)
        if not hasattr(model, "get_text_features") and not hasattr(model, "text_projection"):
            problem = f"{name!r}, a {type(model).__name__}"
            raise InputError(
                "--target", found=problem, expected="a model that embeds text beside images, as CLIP"
            )
        self._model, self._device = model.eval().to(device), device
        label = Path(name).name if Path(name).is_dir() else name
        self.embedding_space = EmbeddingSpace(f"transformers:{label}", _width(self.embed_texts))
        self.description = f"transformers {label}"

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """(N, D) rows of N texts."""
        limit = getattr(
            getattr(self._model.config, "text_config", self._model.config), "max_position_embeddings", 77
        )
        # Models of the SigLIP family were trained on padded text; CLIP does not look past its end token.
        tokens = self._tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=limit, return_tensors="pt"
        )
        tokens = {name: value.to(self._device) for name, value in tokens.items()}
        with torch.inference_mode():
            if hasattr(self._model, "get_text_features"):
                output = self._model.get_text_features(**tokens)
                rows: Tensor = getattr(output, "pooler_output", output)
            else:
                rows = self._model(**tokens).text_embeds
            return rows.float().clone()


def read_names(path: str | Path) -> list[str]:
    """Names from a text file, one a line, or a JSON list; underscores become spaces.

    Raises:
        InputError: the file cannot be read or holds no names.
    """
    expected = "a UTF-8 file with one name a line, or a JSON list of names"
    try:
        content = Path(path).expanduser().read_text(encoding="utf-8")
        names = json.loads(content) if content.lstrip().startswith("[") else content.splitlines()
    except (OSError, ValueError, RecursionError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise InputError(str(path), found=problem, expected=expected) from None
    if not all(isinstance(name, str) for name in names):
        raise InputError(str(path), found="items that are no text", expected=expected)
    readable_names = [" ".join(name.replace("_", " ").split()) for name in names]
    names = [name for name in readable_names if name]
    if not names:
        raise InputError(str(path), found="no names", expected=expected)
    return names


def _read_vectors(path: Path) -> np.ndarray:
    if not path.is_file():
        raise WeightsNotFound(f"there is no file {str(path)!r}")
    try:
        rows = np.load(path, allow_pickle=False)
        rows = np.asarray(rows, dtype=np.float32)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is not an .npy file of numbers ({error})") from error
    if rows.ndim != 2 or 0 in rows.shape:
        raise InputError(str(path), found=f"shape {rows.shape}", expected="(names, width)")
    return rows


def _fetched(what: str, remedy: str, read: Callable[[], Any]) -> Any:
    """The libraries raise whatever their downloaders do; all of it means that the weights are not here."""
    try:
        return read()
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsNotFound(
            f"{what} are not on this machine and could not be read or fetched ({reason}); {remedy}"
        ) from error


def _width(embed_texts: Callable[[Sequence[str]], Tensor]) -> int:
    return embed_texts(["a dog"]).shape[1]
