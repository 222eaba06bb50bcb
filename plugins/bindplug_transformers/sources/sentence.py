"""``bindplug.load("sentence-transformers:ID")``: models of the sentence-transformers library."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bindplug.errors import CheckpointError, UnknownModel
from bindplug.foreign import ForeignEncoder, fetch_snapshot, license_of, opening
from bindplug.inputs import ModelInput, PicturePreprocess, Preprocess, SentencePreprocess, WaveformPreprocess
from bindplug.lazy import require
from bindplug_transformers.sources.clap import rows_of_windows
from bindplug_transformers.sources.loading import quiet_loading

SCHEME = "sentence-transformers"
OWN_MODULES = "sentence_transformers."
"""What the types of a model's modules must start with: others could be any code on this machine."""

LONGEST_SOUND_S = 30.0
"""Seconds of a sound in one window where the processor states no length."""


OFFSETS = "offsets"
"""Where each text begins among the token ids of a batch, which static embeddings take without a batch axis."""

PROMPT_LENGTH = "prompt_length"
"""Tokens of the prompt, where pooling leaves them out."""


class ProcessItem:
    """One item to the tensors of a model's first module, without a batch axis.

    Args:
        network: the model. It is not kept: readers hold what reads, and the encoder holds the network.
    """

    def __init__(self, network: Any) -> None:
        self.first = [network[0]]
        self.pools_prompts = all(getattr(module, "include_prompt", True) for module in network)
        self.prompts = {name: prompt or "" for name, prompt in dict(network.prompts or {}).items()}
        self.default = self.prompts.get(network.default_prompt_name or "", "")

    def tensors(self, item: Any, prompt: str = "") -> dict[str, Tensor]:
        """The tensors of a picture, a text or a sound."""
        features = self.first[0].preprocess([item], **({"prompt": prompt} if prompt else {}))
        if OFFSETS in features:
            # token ids (L,), which a batch has one text after the other
            return {"input_ids": features["input_ids"], OFFSETS: torch.tensor(0)}
        # An item alone has no padding; tensors without a batch axis, as scalars, describe the batch.
        item = {
            name: part[0].float() if part.is_floating_point() else part[0]
            for name, part in features.items()
            if isinstance(part, Tensor) and part.ndim > 0
        }
        length = features.get(PROMPT_LENGTH)
        return item if length is None or self.pools_prompts else item | {PROMPT_LENGTH: torch.tensor(length)}


class TokenizeText(ProcessItem):
    """A text to tensors, with the prompt that the model puts in front."""

    def __call__(self, text: str, *, prompt: str | None = None) -> tuple[dict[str, Tensor], int]:
        """Tensors of one text; ``prompt`` is the name of one of the model's prompts, or a prompt itself."""
        prefix = self.default if prompt is None else self.prompts.get(prompt, prompt)
        tokenizer = getattr(self.first[0], "tokenizer", None)
        count = 0
        if callable(tokenizer):
            count = len(tokenizer(prefix + text, verbose=False)["input_ids"])
        return self.tensors(text, prefix), count


class ProcessPicture(ProcessItem):
    """A picture to tensors."""

    def __call__(self, picture: Image.Image) -> dict[str, Tensor]:
        """Tensors of one picture."""
        return self.tensors(picture)


class ProcessSound(ProcessItem):
    """Samples to tensors."""

    def __init__(self, network: Any, sample_rate_hz: int) -> None:
        super().__init__(network)
        self.sample_rate_hz = sample_rate_hz

    def __call__(self, samples: np.ndarray) -> dict[str, Tensor]:
        """Tensors of (N,) samples."""
        return self.tensors({"array": samples, "sampling_rate": self.sample_rate_hz})


class SentenceFamily:
    """How a ``SentenceTransformer`` is used.

    Args:
        name: of the model, for messages.
        network: the model.

    Raises:
        UnknownModel: it embeds neither text, nor pictures, nor sounds.
    """

    def __init__(self, name: str, network: Any) -> None:
        readers: dict[str, Preprocess] = {}
        available = [modality for modality in network.modalities if isinstance(modality, str)]
        if "text" in available:
            limit = network.max_seq_length
            readers["text"] = SentencePreprocess(
                TokenizeText(network), limit=int(limit) if limit and limit < 1_000_000 else None
            )
        if "image" in available:
            readers["image"] = PicturePreprocess(ProcessPicture(network))
        extractor = getattr(getattr(network[0], "processor", None), "feature_extractor", None)
        if "audio" in available and extractor is not None:
            rate = int(extractor.sampling_rate)
            samples = getattr(extractor, "nb_max_samples", None) or LONGEST_SOUND_S * rate
            readers["audio"] = WaveformPreprocess(
                ProcessSound(network, rate), sample_rate_hz=rate, window_seconds=float(samples) / rate
            )
        if not readers:
            raise UnknownModel(f"{name} embeds {available}; expected a model of text, image or audio")
        self.preprocess: Mapping[str, Preprocess] = readers
        self.modalities = tuple(readers)
        self.width = int(network.get_embedding_dimension() or 0) or self._measured(network)

    def _measured(self, network: Any) -> int:
        with torch.inference_mode():
            return int(network.encode(["a"], convert_to_tensor=True, show_progress_bar=False).shape[-1])

    def rows(self, network: Any, modality: str, x: ModelInput) -> Tensor:
        """(B, D) rows; (B, W, D) of sounds of W windows."""
        assert isinstance(x, Mapping)

        def embed(inputs: Mapping[str, Tensor]) -> Tensor:
            rows: Tensor = network({**inputs, "modality": modality})["sentence_embedding"]
            return rows[:, : self.width]  # as many as the model's truncate_dim says

        if modality == "audio":
            return rows_of_windows(embed, x)
        if OFFSETS in x:
            items, tokens = x["input_ids"].shape  # (B, L) -> (B * L,)
            offsets = torch.arange(items, device=x[OFFSETS].device) * tokens
            return embed({"input_ids": x["input_ids"].flatten(), OFFSETS: offsets})
        if PROMPT_LENGTH not in x:
            return embed(x)
        rows = x[PROMPT_LENGTH].new_empty(len(x[PROMPT_LENGTH]), self.width, dtype=torch.float32)
        for length in x[PROMPT_LENGTH].unique():  # pooling takes one for all texts
            places = x[PROMPT_LENGTH] == length
            rows[places] = embed({name: part[places] for name, part in x.items()}).float()
        return rows

    def scale(self, network: Any, modality: str) -> float | None:
        """None: the library's models keep no factor on cosines."""
        return None


def load(
    name: str, *, modalities: Collection[str] | None, device: torch.device, dtype: torch.dtype | None
) -> ForeignEncoder:
    """An encoder of a sentence-transformers model.

    Args:
        name: an id on the hub, or a directory.
        modalities, device, dtype: as in :func:`bindplug.load`.

    Raises:
        UnknownModel: it is no model of the library, or names modules that are not the library's own.
        WeightsNotFound: there is no such directory, or the id cannot be fetched.
        CheckpointError: the files are damaged or incomplete.
        MissingDependency: sentence-transformers is absent.
        InputError: the model does not embed one of ``modalities``.
    """
    library = require("sentence_transformers", owner=f"{SCHEME}:{name}", extra="sentence-transformers")
    transformers = require("transformers", owner=f"{SCHEME}:{name}", extra="transformers")
    directory = fetch_snapshot(name, scheme=SCHEME)
    _check_modules(directory, f"{SCHEME}:{name}")
    space = f"{SCHEME}:{directory.name if Path(name).expanduser().is_dir() else name}"
    with quiet_loading(transformers), opening(f"{SCHEME}:{name}"):
        network = library.SentenceTransformer(
            str(directory), device="cpu", local_files_only=True, trust_remote_code=False
        )
        family = SentenceFamily(f"{SCHEME}:{name}", network)
    network = network.eval().to(device) if dtype is None else network.eval().to(device, dtype)
    return ForeignEncoder(network, family, space=space, modalities=modalities, license=license_of(directory))


def _check_modules(directory: Path, name: str) -> None:
    path = directory / "modules.json"
    if not path.is_file():
        remedy = f"say transformers:{name.partition(':')[2]} for a model of transformers"
        raise UnknownModel(
            f"{name}: there is no modules.json in {str(directory)!r}; expected a model of sentence-transformers; "
            f"{remedy}"
        )
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
        types = [str(module["type"]) for module in modules]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{name}: {path} is not a whole list of modules ({error})") from error
    others = [kind for kind in types if not kind.startswith(OWN_MODULES)]
    if others or not types:
        module = repr(others[0]) if others else "list is empty, which"
        raise UnknownModel(
            f"{name}: its module {module} is not one of sentence-transformers' own; expected a model that brings no "
            f"code"
        )
