"""The encoder of a bound tower: the new sense by the tower, everything else by the anchor."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bindplug.encoder import Encoder
from bindplug.errors import InputError, ModalityNotLoaded, NoTrainedScale
from bindplug.fingerprint import Fingerprint
from bindplug.imagebind import ImageBind
from bindplug.inputs import describe_source
from bindplug.inputs.arrayfiles import read_arrays
from bindplug.inputs.base import ModelInput, Preprocess
from bindplug.inputs.notes import outer_level
from bindplug.inputs.source import is_file_like
from bindplug.modality import Modality
from bindplug.query import Query, embedding
from bindplug.space import EmbeddingSpace


class BoundEncoder(nn.Module, Encoder):
    """A bound tower for its sense, and the anchor for everything else.

    The anchor is loaded when it is first needed, and must be the one that the tower was bound to.

    Args:
        sense: that the tower embeds: a modality's name, or a name of one's own.
        tower: an :class:`ImageBind` with the tower of the sense; for a sense of one's own any network from (B, ...)
            to (B, D).
        space: of the anchor, with its fingerprint.
        modalities: names to offer, without a sense of one's own.
        load_anchor: loads the anchor, with these modalities.
        scale: factor on cosines of the sense, at which it was trained.
        similarity_scale: factor that was fitted on held-out pairs; None without.
        fingerprint: of the anchor's weights.

    Attributes:
        sense: as given.
        tower: as given.
        card: what is known of the run: recipe, data, losses, figures.
        similarity_scales: of the sense, where one was fitted.
    """

    def __init__(
        self,
        sense: str,
        tower: nn.Module,
        space: EmbeddingSpace,
        *,
        modalities: Sequence[str],
        load_anchor: Callable[[], Encoder],
        scale: float,
        similarity_scale: float | None = None,
        fingerprint: Fingerprint | None = None,
    ) -> None:
        super().__init__()
        self.sense, self.tower, self.embedding_space = sense, tower, space
        self.modalities = tuple(modalities)
        self.fingerprint = fingerprint
        self.card: Mapping[str, Any] = {}
        self._scale = scale
        self._load_anchor = load_anchor
        self._anchor: Encoder | None = None
        self.anchor_network: nn.Module | None = None
        self.similarity_scales: Mapping[str, float] = (
            {} if similarity_scale is None else {sense: similarity_scale}
        )
        self.preprocess = _Readers(self)
        self.eval()

    @property
    def is_own_sense(self) -> bool:
        """Whether the sense is none of bindplug's modalities."""
        return self.sense not in {modality.value for modality in Modality}

    @property
    def anchor(self) -> Encoder:
        """The model that embeds the other modalities; loaded on first use.

        Raises:
            SpaceMismatch: what its id stands for now is not what the tower was bound to.
            ModalityNotLoaded: this model was loaded with the sense alone.
        """
        if self._anchor is None:
            if not set(self.modalities) - {self.sense}:
                raise ModalityNotLoaded("the anchor", self.modalities)
            anchor = self._load_anchor()
            if isinstance(anchor, nn.Module):
                anchor.to(self.device)
                self.anchor_network = anchor.eval()
            self._anchor = anchor
        return self._anchor

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where the tower's weights are."""
        return next(self.tower.parameters()).device

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        """Of the tower's weights."""
        return next((p.dtype for p in self.tower.parameters() if p.is_floating_point()), torch.float32)

    def tokenizer(self, texts: str | Sequence[str]) -> Any:
        """The anchor's tokenizer.

        Raises:
            ModalityNotLoaded: this model was loaded without text.
        """
        if "text" not in self.modalities:
            raise ModalityNotLoaded("text", self.modalities)
        return self.anchor.tokenizer(texts)

    def encode(self, modality: str, x: ModelInput, normalize: bool = False) -> Tensor:
        """Embed a batch of preprocessed input, by the tower or by the anchor.

        Returns:
            (B, D) rows; of unit length if ``normalize``.

        Raises:
            ModalityNotLoaded: neither embeds the modality, or this model was loaded without it.
        """
        if modality == self.sense:
            if isinstance(self.tower, ImageBind):
                assert isinstance(x, Tensor)
                return self.tower.encode(modality, x, normalize)
            rows: Tensor = self.tower(x)
            return nn.functional.normalize(rows, dim=-1) if normalize else rows
        if modality not in self.modalities:
            raise ModalityNotLoaded(modality, self.modalities)
        return self.anchor.encode(modality, _moved(x, self.anchor), normalize).to(self.device)

    def unknown_tokens(self, ids: Any) -> frozenset[int]:
        """Those of the token ids that carry no meaning to the anchor."""
        return self.anchor.unknown_tokens(ids)

    def scale_of(self, modality: str) -> float:
        """The factor on cosines that the sense was trained with; of other modalities the anchor's."""
        return self._scale if modality == self.sense else self.anchor.scale_of(modality)

    def set_scale(self, modality: str, scale: float) -> None:
        """Set the factor on cosines that :meth:`scale_of` returns for the sense.

        Raises:
            ValueError: the scale is not positive, or the modality is not the sense.
        """
        if modality != self.sense or not (scale > 0 and math.isfinite(scale)):
            raise ValueError(f"cannot set the output scale of {modality} to {scale}")
        self._scale = float(scale)

    def _similarity_scale(self, modality: str) -> float:
        if modality != self.sense:
            return self.anchor._similarity_scale(modality)
        fitted = self.similarity_scales.get(modality)
        if fitted is None:
            warnings.warn(
                f"no scale was fitted on held-out pairs of {modality}; probabilities use the one of training",
                NoTrainedScale,
                stacklevel=outer_level(),
            )
            return self._scale
        return fitted

    @torch.inference_mode()
    def sense_queries(self, sources: Sequence[object], *, batch_size: int = 32) -> list[Query]:
        """Queries for samples of a sense of one's own, to be compared with any others.

        Args:
            sources: ``.npy`` files, arrays or tensors, each of the shape that the tower takes.
            batch_size: samples in one pass.

        Raises:
            InputError: a source cannot be read, or holds NaN; or the sense is one of bindplug's, which has a
                query of its own.
        """
        if not self.is_own_sense:
            problem = f"the sense {self.sense}"
            raise InputError("sense_queries()", found=problem, expected=f"bindplug.{self.sense}(source)")
        samples = [read_array(source) for source in sources]
        queries: list[Query] = []
        for start in range(0, len(samples), batch_size):
            batch = torch.stack(samples[start : start + batch_size]).to(self.device, self.dtype)
            rows = self.encode(self.sense, batch, normalize=True).float().cpu()
            queries += [embedding(row, self.embedding_space) for row in rows]
        return queries


class _Readers(Mapping[str, Any]):
    """Readers by modality, the anchor's being asked for when they are used."""

    def __init__(self, owner: BoundEncoder) -> None:
        self._owner = owner

    def __getitem__(self, name: str) -> Preprocess:
        owner = self._owner
        if name not in owner.modalities:
            raise KeyError(name)
        if name == owner.sense:
            assert isinstance(owner.tower, ImageBind)
            return owner.tower.preprocess[name]
        return owner.anchor.preprocess[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._owner.modalities)

    def __len__(self) -> int:
        return len(self._owner.modalities)


def read_array(source: object) -> Tensor:
    """The sample of a sense of one's own: float32, finite.

    Raises:
        InputError: it is no array of numbers.
    """
    name = describe_source(source)
    if is_file_like(source):
        arrays = read_arrays(source, "an array in an .npy file")
        if len(arrays) != 1:
            raise InputError(name, found=f"arrays {', '.join(arrays)}", expected="one array")
        source = next(iter(arrays.values()))
    if not isinstance(source, (np.ndarray, Tensor)):
        raise InputError(name, found=f"a {type(source).__name__}", expected="an array or an .npy file")
    try:
        sample = torch.as_tensor(source).detach().cpu().to(torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(name, found=f"no numbers ({error})", expected="an array of numbers") from None
    if not sample.numel() or not bool(sample.isfinite().all()):
        problem = "NaN or infinity" if sample.numel() else "an empty array"
        raise InputError(name, found=problem, expected="finite numbers")
    return sample


def _moved(x: ModelInput, model: Encoder) -> Any:
    if isinstance(x, Tensor):
        return x.to(model.device, model.dtype) if x.is_floating_point() else x.to(model.device)
    return {name: _moved(part, model) for name, part in x.items()}
