"""Encoders of other libraries behind our face: what every model source builds on.

A plugin that registers a :class:`bindplug.cards.ModelSourceCard` finds the files with :func:`fetch_snapshot`, opens its
library's network and returns a :class:`ForeignEncoder`.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from bindplug.encoder import Encoder
from bindplug.errors import (
    BindplugError,
    CheckpointError,
    InputError,
    ModalityNotLoaded,
    NoTrainedScale,
    WeightsNotFound,
)
from bindplug.fingerprint import Fingerprint, joined, sample_positions
from bindplug.inputs.base import ModelInput
from bindplug.inputs.notes import outer_level
from bindplug.lazy import require
from bindplug.modality import Modality
from bindplug.space import EmbeddingSpace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bindplug.inputs.base import Preprocess

__all__ = [
    "USUAL_SCALE",
    "Family",
    "ForeignEncoder",
    "as_scale",
    "fetch_snapshot",
    "fingerprint_of_weights",
    "hub_errors",
    "license_of",
    "opening",
    "select_modalities",
]

OFFLINE_VARIABLES = ("BINDPLUG_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
FILES = ("*.json", "*.txt", "*.model", "*.md", "*.safetensors", "*.jinja", "*.tiktoken")
"""What is downloaded of a repository: configurations, tokenizers, the card and safe weights; no code and no pickle."""

PICKLED_WEIGHTS = ("pytorch_model*.bin", "open_clip_pytorch_model.bin")
"""Downloaded where a repository has no safetensors; opened with ``weights_only=True``."""

USUAL_SCALE = 20.0
"""Factor on cosines of networks without a trained one. Source: sentence-transformers' contrastive losses."""

NUMBERS_OF_WEIGHTS = 2048
"""Numbers that a fingerprint samples of a network, spread over all its tensors."""

NUMBERS_OF_TENSOR = (2, 32)
"""Numbers of each tensor: at least and at most. Training may change a single one, such as a projection."""


class Family(Protocol):
    """How the networks of one class are used.

    Attributes:
        modalities: names of what the network embeds.
        preprocess: for each of them the reader whose output :meth:`rows` takes.
        width: of the rows.
    """

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of what the network embeds."""

    @property
    def preprocess(self) -> Mapping[str, Preprocess]:
        """A reader for each modality."""

    @property
    def width(self) -> int:
        """Length of a row."""

    def rows(self, network: Any, modality: str, x: ModelInput) -> Tensor:
        """(B, D) rows of a batch; (B, W, D) where each item has W windows."""

    def scale(self, network: Any, modality: str) -> float | None:
        """The factor on cosines that the network was trained with; None if it has none."""


class ForeignEncoder(nn.Module, Encoder):
    """A network of another library as an encoder.

    Args:
        network: in evaluation mode, its weights loaded.
        family: how it is used.
        space: name of its space, as ``"transformers:laion/clap-htsat-unfused"``.
        modalities: those to offer; all of the family's for None.
        license: of the weights, as their card says it; empty if it says nothing.

    Attributes:
        network: the library's own object.
        license: as given.
        model_id: what :func:`bindplug.load` was called with; empty for encoders made in another way.

    Raises:
        InputError: ``modalities`` names one that the network does not embed.
        CheckpointError: the weights hold NaN or infinities.
    """

    def __init__(
        self,
        network: nn.Module,
        family: Family,
        *,
        space: str,
        modalities: Collection[str] | None = None,
        license: str = "",
    ) -> None:
        super().__init__()
        self.network = network
        self.family = family
        self.license = license
        self.model_id = ""
        self.modalities = select_modalities(family.modalities, modalities, space)
        self.preprocess = {name: family.preprocess[name] for name in self.modalities}
        check_finite(network, space)
        self.fingerprint = fingerprint_of_weights(network.state_dict())
        self.embedding_space = EmbeddingSpace(space, family.width, str(self.fingerprint))
        self.eval()

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        """The dtype of the weights."""
        return next(p for p in self.parameters() if p.is_floating_point()).dtype

    def tokenizer(self, texts: str | Sequence[str]) -> Any:
        """Texts to the network's input, a list of one for each: :meth:`encode` takes a batch of equal shape.

        Raises:
            ModalityNotLoaded: the network embeds no text.
        """
        if "text" not in self.modalities:
            raise ModalityNotLoaded("text", self.modalities)
        sentences = [texts] if isinstance(texts, str) else list(texts)
        return [self.preprocess["text"](sentence) for sentence in sentences]

    def encode(self, modality: str, x: ModelInput, normalize: bool = False) -> Tensor:
        """Embed a batch of what :attr:`preprocess` makes, with a batch axis in front.

        Returns:
            (B, D), for sounds of several windows the mean of their unit rows; of unit length if ``normalize``.

        Raises:
            ModalityNotLoaded: the network does not embed the modality, or was loaded without it.
        """
        if modality not in self.modalities:
            raise ModalityNotLoaded(modality, self.modalities)
        rows = self.family.rows(self.network, modality, x)
        if rows.ndim == 3:  # (B, W, D) -> (B, D)
            rows = rows[:, 0] if rows.shape[1] == 1 else nn.functional.normalize(rows, dim=-1).mean(1)
        return nn.functional.normalize(rows, dim=-1) if normalize else rows

    def scale_of(self, modality: str) -> float:
        """The factor on cosines that the network was trained with; :data:`USUAL_SCALE` if it has none.

        Warns:
            NoTrainedScale: the network has none.
        """
        scale = self.family.scale(self.network, modality)
        if scale is None:
            warnings.warn(
                f"{self.embedding_space.name} was trained without a factor on cosines; probabilities use "
                f"{USUAL_SCALE:g}, and only their order means something. Give scale= yourself, or use scores()",
                NoTrainedScale,
                stacklevel=outer_level(),
            )
            return USUAL_SCALE
        return scale


def select_modalities(
    available: Sequence[str], modalities: Collection[str] | None, name: str
) -> tuple[str, ...]:
    """Those of the available modalities that are asked for, in the order of :class:`bindplug.Modality`.

    Raises:
        InputError: one is asked for that is not available.
    """
    names = set(available) if modalities is None else {Modality.parse(m).value for m in modalities}
    absent = sorted(names - set(available))
    if absent:
        raise InputError(
            f"load({name!r})", found=f"modalities {absent}", expected=f"some of {sorted(available)}"
        )
    return tuple(m.value for m in Modality if m.value in names)


def check_finite(network: nn.Module, name: str) -> None:
    """Refuse weights with NaN or infinities: whatever they embed would be worthless.

    Raises:
        CheckpointError: a parameter holds some; the message names it.
    """
    for key, parameter in network.named_parameters():
        if parameter.is_floating_point() and not torch.isfinite(parameter.detach().sum(dtype=torch.float64)):
            bad = int((~torch.isfinite(parameter.detach())).sum())
            if bad:
                raise CheckpointError(
                    f"{name}: {key} holds {bad} NaN or infinite numbers of {parameter.numel()}; the weights are "
                    f"damaged, download them again"
                )


def fingerprint_of_weights(state: Mapping[str, Tensor]) -> Fingerprint:
    """Numbers sampled from every floating-point tensor; its sizes are their count and that of their numbers."""
    tensors = [state[key] for key in sorted(state) if state[key].is_floating_point() and state[key].numel()]
    fewest, most = NUMBERS_OF_TENSOR
    count = min(most, max(fewest, NUMBERS_OF_WEIGHTS // max(1, len(tensors))))
    samples = []
    for tensor in tensors:
        places = torch.from_numpy(sample_positions(count, tensor.numel())).to(tensor.device)
        samples.append(tensor.detach().flatten()[places].float().cpu().numpy())
    return Fingerprint((len(tensors), sum(tensor.numel() for tensor in tensors)), joined(samples))


def fetch_snapshot(name: str, *, scheme: str) -> Path:
    """The directory with a model's files: one of this machine, or one that huggingface_hub keeps or downloads.

    Args:
        name: a directory, which must be written with a separator or exist, or a repository's id on the hub.
        scheme: of the model's id, for messages.

    Raises:
        WeightsNotFound: there is no such directory; or the repository is unknown, gated or out of reach.
        MissingDependency: huggingface_hub is absent.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_file() or name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        problem = "is a file" if path.is_file() else "does not exist"
        raise WeightsNotFound(
            f"{scheme}:{name}: the directory {str(path)!r} {problem} (from {str(Path.cwd())!r}); give a directory with "
            f"the model's config.json, weights and processor, or an id on the hub, as {scheme}:OWNER/NAME"
        )
    hub = require("huggingface_hub", owner=f"{scheme}:{name}", extra="transformers")
    local_only = any(os.environ.get(variable, "0") not in ("", "0") for variable in OFFLINE_VARIABLES)
    with hub_errors(name, scheme=scheme):
        directory = Path(hub.snapshot_download(name, allow_patterns=list(FILES), local_files_only=local_only))
        if not any(directory.rglob("*.safetensors")):
            hub.snapshot_download(name, allow_patterns=list(PICKLED_WEIGHTS), local_files_only=local_only)
    return directory


HUB_REMEDIES = {
    "GatedRepoError": "the repository is gated: accept its terms on the hub, then run `hf auth login`",
    "RepositoryNotFoundError": "the hub has no repository of that id, or it is private: check the spelling, or run "
    "`hf auth login`",
    "RevisionNotFoundError": "the hub has no such revision",
    "HFValidationError": "that is no id of the hub: expected OWNER/NAME, or a directory as ./NAME",
    "OfflineModeIsEnabled": "the environment forbids the network",
    "LocalEntryNotFoundError": "it is not on this machine, and the hub is out of reach or forbidden",
}
"""What errors of huggingface_hub mean, by their names: the most particular first."""


@contextmanager
def hub_errors(
    name: str, *, scheme: str, repository: str | None = None, file: str | None = None
) -> Iterator[None]:
    """Turn what huggingface_hub raises in the block into :class:`WeightsNotFound` with the remedy.

    Args:
        name: of the model.
        scheme: of its id.
        repository: that holds the model, if ``name`` is not its id.
        file: what to say after the scheme once the repository is in ``DIR``; ``DIR`` itself by default.
    """
    try:
        yield
    except BindplugError:
        raise
    except Exception as error:
        names = [base.__name__ for base in type(error).__mro__]
        reason = next(
            (text for kind, text in HUB_REMEDIES.items() if kind in names),
            f"the hub could not be reached ({type(error).__name__}: {' '.join(str(error).split())[:200]})",
        )
        raise WeightsNotFound(
            f"{scheme}:{name}: {reason}. Without a network: download the repository elsewhere "
            f"(`hf download {repository or name} --local-dir DIR`), copy DIR here and say {scheme}:{file or 'DIR'}"
        ) from error


@contextmanager
def opening(name: str) -> Iterator[None]:
    """Turn what a library raises while it opens a model's files into :class:`CheckpointError`."""
    try:
        yield
    except (BindplugError, torch.cuda.OutOfMemoryError, ImportError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{name} could not be opened ({type(error).__name__}: {reason}); the directory is damaged or incomplete, "
            f"or of a newer release: download it again"
        ) from error


def license_of(directory: Path) -> str:
    """The license that a model's card (``README.md``) states, as an SPDX identifier where it is one; else empty."""
    card = directory / "README.md"
    try:
        head = card.read_text(encoding="utf-8", errors="replace")[:20_000] if card.is_file() else ""
    except OSError:
        return ""
    front = re.match(r"---\s*\n(.*?)\n---", head, re.DOTALL)
    license = re.search(r"^license:\s*[\"']?([\w.+-]+)", front[1], re.MULTILINE) if front else None
    return license[1] if license else ""


def as_scale(parameter: Tensor | Callable[[], Tensor] | None) -> float | None:
    """The factor on cosines of a log scale; None for None."""
    if parameter is None:
        return None
    value = parameter() if callable(parameter) else parameter
    return float(np.exp(value.detach().float().cpu().numpy().reshape(-1)[0]))
