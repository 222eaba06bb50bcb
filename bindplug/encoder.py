"""The CLIP face of a model: ``encode_*`` for every modality, and queries in, unit rows out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from bindplug.embed import (
    SkippedInputs,
    embed_parts,
    embed_queries,
    warn_unknown_words,
)
from bindplug.errors import InputError
from bindplug.evaluation_mode import evaluating
from bindplug.fingerprint import Fingerprint
from bindplug.inputs.notes import warn_notes
from bindplug.inputs.text import word_tokens
from bindplug.modality import Modality
from bindplug.query import Query, text
from bindplug.space import EmbeddingSpace
from bindplug.sums import Embedded, SkippedQuery
from bindplug.templates import OPENAI_IMAGENET_TEMPLATES

if TYPE_CHECKING:
    from bindplug.inputs.base import Preprocess

__all__ = [
    "Embedded",
    "Encoder",
    "Side",
    "SkippedInputs",
    "SkippedQuery",
    "Template",
    "embed_parts",
    "evaluating",
    "warn_unknown_words",
]

Template = str | Callable[[str], str]
Side = Query | Sequence[Query] | Tensor | np.ndarray
"""What similarity compares: queries, or rows embedded earlier."""


class Encoder:
    """A mixin that gives a network CLIP's methods, one pair of eyes and ears wider.

    A subclass supplies the attributes below, :meth:`encode` and :meth:`scale_of`.

    Attributes:
        embedding_space: the space of the rows it makes.
        modalities: names of the modalities it was loaded with.
        preprocess: for each modality name, what turns a source into model input.
        tokenizer: text to token ids, ``tokenizer(["a dog"]) -> (1, 77)``.
        device: where its weights are.
        dtype: of its weights.
        centers: for some modalities the mean unit row (D,), which ``embed(recenter=...)`` needs; may be empty.
        fingerprint: of the weights that define the space, loaded or not; None if they are not known.
        similarity_scales: for some modalities a factor on cosines that was fitted on held-out samples, which
            :meth:`similarity` uses in place of :meth:`scale_of`; may be empty.
    """

    embedding_space: EmbeddingSpace
    modalities: tuple[str, ...]
    preprocess: Mapping[str, Preprocess]
    tokenizer: Callable[..., Tensor]
    device: torch.device
    dtype: torch.dtype
    centers: Mapping[str, Tensor] = MappingProxyType({})
    fingerprint: Fingerprint | None = None
    similarity_scales: Mapping[str, float] = MappingProxyType({})

    def encode(self, modality: str, x: Tensor, normalize: bool = False) -> Tensor:
        """Embed a batch of preprocessed input.

        Args:
            modality: name of the modality.
            x: what :attr:`preprocess` makes of B sources, as a batch; ``encode_image`` and so on give its shape.
            normalize: whether rows have unit length.

        Returns:
            (B, D) of the model's dtype.

        Raises:
            ModalityNotLoaded: the model does not embed the modality.
            InputError: ``x`` has another shape, dtype or device.
        """
        raise NotImplementedError(f"{type(self).__name__} is an Encoder and must define encode()")

    def unknown_tokens(self, ids: Tensor) -> frozenset[int]:
        """Those of the token ids (B, 77) that carry no meaning: their embeddings are zero. Empty by default."""
        return frozenset()

    def scale_of(self, modality: str) -> float:
        """The factor on cosines at which this modality was trained against images (1 for images)."""
        raise NotImplementedError(f"{type(self).__name__} is an Encoder and must define scale_of()")

    def encode_image(self, x: Tensor, normalize: bool = False) -> Tensor:
        """Embed pictures. x: (B, 3, H, W) -> (B, D), unit rows if ``normalize``."""
        return self.encode("image", x, normalize)

    def encode_video(self, x: Tensor, normalize: bool = False) -> Tensor:
        """Embed videos. x: (B, S, 3, 2, H, W), S clips of 2 frames -> (B, D), mean of S, unit if ``normalize``."""
        return self.encode("video", x, normalize)

    def encode_text(self, x: Tensor, normalize: bool = False) -> Tensor:
        """Embed token ids. x: (B, 77) int64 -> (B, D), unit rows if ``normalize``."""
        return self.encode("text", x, normalize)

    def encode_audio(self, x: Tensor, normalize: bool = False) -> Tensor:
        """Embed sounds. x: (B, S, 1, 128, 204), S clips of 2 s, or one without S -> (B, D), unit if ``normalize``."""
        return self.encode("audio", x, normalize)

    def encode_depth(self, x: Tensor, normalize: bool = False) -> Tensor:
        """Embed depth maps. x: (B, 1, 224, 224) normalized disparity -> (B, D), unit rows if ``normalize``."""
        return self.encode("depth", x, normalize)

    def encode_thermal(self, x: Tensor, normalize: bool = False) -> Tensor:
        """Embed thermal pictures. x: (B, 1, 224, 224) in [0, 1] -> (B, D), unit rows if ``normalize``."""
        return self.encode("thermal", x, normalize)

    def encode_imu(self, x: Tensor, normalize: bool = False) -> Tensor:
        """Embed motions. x: (B, 6, 2000), or S clips (B, S, 6, 2000) -> (B, D), unit rows if ``normalize``.

        Channels are accelerometer x, y, z, then gyroscope x, y, z.
        """
        return self.encode("imu", x, normalize)

    def embed(
        self,
        queries: Query | Sequence[Query],
        *,
        batch_size: int = 32,
        on_error: str = "raise",
        progress: bool | None = None,
        recenter: str | Tensor | None = None,
        workers: int | None = None,
    ) -> Tensor:
        """Embed queries, each to one row.

        Every distinct source among all queries is read and encoded once, in batches of one modality. What
        readers remark on sources (padding, filled holes, repeated samples) is issued as
        :class:`~bindplug.errors.InputNote` warnings, one a source; :meth:`embed_with_report` has them as data.
        So are words that the model does not know, in one :class:`~bindplug.errors.UnknownWords` warning.

        Args:
            queries: a sequence of N queries; a single one counts as a sequence of one.
            batch_size: most items (clips, for sound and video) in one pass through a tower.
            on_error: ``"raise"``, or ``"skip"`` to leave out each query with an unreadable source; a
                :class:`SkippedInputs` warning then lists them; :meth:`embed_with_report` has them as data.
            progress: True or False to force or forbid the bar; None shows one for work over two seconds.
            recenter: where to move rows, which closes the modality gap (see :mod:`bindplug.centers`): to search
                a gallery, the mean (D,) of its rows; for a network that was trained on image rows, ``"image"``
                or another modality's name. Each source's row is moved there from where its own modality's rows
                lie, before rows are weighted and summed, and is of unit length again. Needs :attr:`centers`.
            workers: threads that read sources while the model works, at most ``workers`` batches ahead of it;
                the rows are the same whatever it is. 0 reads in the caller's thread. None takes a thread for
                each core, at most 4, where there are several batches of files, and else none.

        Returns:
            (N, D) float32 on the model's device, rows of unit length; fewer rows where some were skipped.

        Raises:
            InputError: something that is no query, a source that cannot be read, or a center is not known.
            ModalityNotLoaded: a query needs a tower that was not loaded.
            NoDirection: the terms of a query cancel.
            SpaceMismatch: a precomputed vector lives in another space.
        """
        embedded = self.embed_with_report(
            queries,
            batch_size=batch_size,
            on_error=on_error,
            progress=progress,
            recenter=recenter,
            workers=workers,
        )
        if embedded.skipped:
            lines = "".join(f"\n  [{s.index}] {s.source}: {s.reason}" for s in embedded.skipped)
            count = f"{len(embedded.skipped)} of {len(embedded.skipped) + len(embedded.kept)}"
            warnings.warn(f"left out {count} queries:{lines}", SkippedInputs, stacklevel=2)
        warn_notes(embedded.notes)
        warn_unknown_words(embedded.unknown_words)
        return embedded.rows

    def embed_with_report(
        self,
        queries: Query | Sequence[Query],
        *,
        batch_size: int = 32,
        on_error: str = "skip",
        progress: bool | None = None,
        recenter: str | Tensor | None = None,
        workers: int | None = None,
    ) -> Embedded:
        """As :meth:`embed`, and says which queries each row stands for and which were left out, and why.

        Takes the arguments of :meth:`embed`, but ``on_error`` is ``"skip"`` by default. It warns of nothing: notes,
        unknown words and skipped queries are in the result.

        Returns:
            The rows, (N, D) float32 of unit length, with what there is to say about them.

        Raises:
            InputError, ModalityNotLoaded, NoDirection, SpaceMismatch: as :meth:`embed`.
        """
        return embed_queries(
            self,
            queries,
            batch_size=batch_size,
            on_error=on_error,
            progress=progress,
            recenter=recenter,
            workers=workers,
        )

    def scores(self, a: Side, b: Side) -> Tensor:
        """Cosines between every query (or row) of ``a`` and of ``b``: (Na, Nb) float32 in [-1, 1]."""
        return self._rows(a, "a") @ self._rows(b, "b").T

    def logits(self, a: Side, b: Side, *, scale: float | None = None) -> Tensor:
        """Cosines times the scale that :meth:`similarity` describes: (Na, Nb) float32.

        Arguments and errors are those of :meth:`similarity`, which is the softmax of this over ``b``.
        """
        a, b = _listed(a), _listed(b)
        cosines = self.scores(a, b)
        if scale is not None:
            return cosines * float(scale)
        return cosines * self.scales(a, b).to(cosines)

    def similarity(self, a: Side, b: Side, *, scale: float | None = None) -> Tensor:
        """How likely each of ``b`` belongs to each of ``a``.

        Softmax over ``b`` of scale x cosine. A modality's scale is the one in :attr:`similarity_scales`, else the
        one it was trained with. Image or text with a sensor X uses X's scale, two sensors the smaller of theirs,
        image and text among themselves the text's. A query of several modalities counts as that of its heaviest
        term, a video as an image, and a row embedded earlier, whose modality is unknown, takes the other side's
        scale. Where the members of ``b`` would differ in scale, a row uses the smallest, so that its numbers stay
        comparable.

        Args:
            a: Na queries, or (Na, D) rows in this model's space, of any length.
            b: Nb queries or (Nb, D) rows.
            scale: use this factor on cosines instead.

        Returns:
            (Na, Nb) float32 probabilities, every row summing to 1.

        Raises:
            InputError: rows of another width, or no way to tell a scale (rows against rows).
            SpaceMismatch, ModalityNotLoaded, NoDirection: as :meth:`embed`.
        """
        return self.logits(a, b, scale=scale).softmax(dim=-1)

    def scales(self, a: Side, b: Side) -> Tensor:
        """The scale that :meth:`similarity` uses for each row.

        Args:
            a: Na queries, or (Na, D) rows.
            b: what they are compared with: Nb queries, or (Nb, D) rows.

        Returns:
            (Na, 1) float32; (1, 1) where ``a`` is an array.

        Raises:
            InputError: both are arrays, so that nothing tells a scale.
        """
        columns = set(_modalities(b))
        rows = [min(self._pair_scale(row, column) for column in columns) for row in _modalities(a)]
        return torch.tensor(rows, device=self.device)[:, None]

    def zero_shot_classifier(
        self,
        classnames: Sequence[str],
        templates: Sequence[Template] = OPENAI_IMAGENET_TEMPLATES,
        *,
        batch_size: int = 256,
        progress: bool | None = None,
    ) -> Tensor:
        """Weights of a linear classifier made from class names.

        Every name is put into every template; a class is the normalized mean of its prompts' unit embeddings.

        Args:
            classnames: C names.
            templates: texts with ``{}`` where the name goes, or functions from name to text.
            batch_size: prompts in one pass of the text tower.
            progress: as in :meth:`embed`.

        Returns:
            (D, C) float32, columns of unit length: ``model.encode_image(x, normalize=True) @ classifier``.

        Raises:
            InputError: no names or no templates, a name that is no text, or a template without ``{}``.

        Warns:
            UnknownWords: the model does not know words of ``classnames``.
        """
        prompts = [_prompts(name, templates) for name in _names(classnames)]
        classes = [
            Query((1.0 / len(texts), leaf) for t in texts for _, leaf in text(t).terms) for texts in prompts
        ]
        embedded = self.embed_with_report(classes, batch_size=batch_size, on_error="raise", progress=progress)
        in_names = {word for name in classnames for word, _ in word_tokens(name)}
        warn_unknown_words(
            [word for word in embedded.unknown_words if word in in_names]
        )  # templates may hold some
        return embedded.rows.T

    def _rows(self, side: Side, name: str) -> Tensor:
        if not isinstance(side, (Tensor, np.ndarray)):
            return self.embed(side)
        rows = torch.as_tensor(side).detach().to(self.device, torch.float32)
        width = self.embedding_space.width
        if rows.ndim != 2 or rows.shape[1] != width:
            raise InputError(
                f"similarity: {name}",
                found=f"an array of shape {tuple(rows.shape)}",
                expected=f"queries, or rows of shape (N, {width}) in {self.embedding_space}",
            )
        return nn.functional.normalize(rows, dim=-1)

    def _pair_scale(self, first: Modality | None, second: Modality | None) -> float:
        modalities = [modality for modality in (first, second) if modality is not None]
        sensors = [m.value for m in modalities if m.tower != "vision" and m is not Modality.TEXT]
        if sensors:
            return min(map(self._similarity_scale, sensors))
        if not modalities or "text" not in self.modalities:
            problem = (
                "two sides of unknown modality" if not modalities else "images only, in a model without text"
            )
            raise InputError(
                "similarity",
                found=problem,
                expected="a modality that was trained with a scale",
                remedy="Give the scale yourself: similarity(a, b, scale=...)",
            )
        return self._similarity_scale("text")

    def _similarity_scale(self, modality: str) -> float:
        scale = self.similarity_scales.get(modality)
        return self.scale_of(modality) if scale is None else scale


def _modalities(side: Side) -> list[Modality | None]:
    """The modality that stands for each query; one None for an array of rows."""
    if isinstance(side, (Tensor, np.ndarray)):
        return [None]
    return [query.modality for query in ([side] if isinstance(side, Query) else side)]


def _listed(side: Side) -> Side:
    """An iterator would be spent by the first of two passes."""
    is_iterator = hasattr(side, "__next__")
    return list(side) if is_iterator else side


def _names(classnames: Sequence[str]) -> Sequence[str]:
    if isinstance(classnames, str) or not len(classnames) or not all(isinstance(n, str) for n in classnames):
        problem = repr(classnames) if len(repr(classnames)) < 60 else f"a {type(classnames).__name__}"
        raise InputError(
            "zero_shot_classifier", found=problem, expected='a list of class names, as ["dog", "cat"]'
        )
    return classnames


def _prompts(name: str, templates: Sequence[Template]) -> list[str]:
    if isinstance(templates, str) or not len(templates):
        problem = "one string" if templates else "no template"
        raise InputError("zero_shot_classifier", found=problem, expected='templates, as ["a photo of a {}."]')
    for template in templates:
        if isinstance(template, str) and "{}" not in template:
            raise InputError(
                "zero_shot_classifier", found=f"the template {template!r}", expected="{} where the name goes"
            )
    return [t.replace("{}", name) if isinstance(t, str) else t(name) for t in templates]
