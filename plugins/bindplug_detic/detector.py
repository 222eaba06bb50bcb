"""Detic for a person with pictures: read, resize, find, and scale back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from bindplug import EmbeddingSpace, Encoder, text
from bindplug.errors import InputError, SpaceMismatch
from bindplug_detic.checks import check_count, check_fraction, checked_threshold
from bindplug_detic.pictures import as_sources, checked_edges, read_picture, to_tensor
from bindplug_detic.pretrained import locate, suited_dtype
from bindplug_detic.results import Detections
from bindplug_detic.scaling import in_picture, plain, scale_boxes
from bindplug_detic.vocabulary import Vocabulary, checked_names, checked_rows

if TYPE_CHECKING:
    from bindplug_detic.network import DeticNetwork

CLIP_SPACE = EmbeddingSpace("open_clip:ViT-B-32:openai", 512)
"""The text space that the published Detic classifies in. Source: Detic, arXiv 2201.02605, and its model zoo."""

PROMPT = "a {}"
"""How a class name is written for the text tower. Source: Detic's vocabularies, ``*_clip_a+cname``."""

THRESHOLD = 0.5
"""The least score of a detection. Source: Detic's demo."""

TextEncoder = Encoder | Callable[[list[str]], Tensor]
"""An encoder of the detector's space, or a function from N prompts to (N, D) vectors in it."""
Words = Vocabulary | Sequence[str] | str | Tensor
Edges = bool | tuple[int, int] | None


class Detic:
    """A detector of whatever its vocabulary names.

    A call changes nothing of the detector, so several threads may call it at once.

    Args:
        network: put into evaluation mode.
        vocabulary: what is looked for unless a call says otherwise; None to set it later.
        space: where the vectors of vocabularies live; the published models' by default.
        text_encoder: what makes vectors of names that the vocabulary lacks.

    Raises:
        InputError: the vocabulary is of another width than the network.
        SpaceMismatch: the text encoder embeds into another space.
    """

    def __init__(
        self,
        network: DeticNetwork,
        vocabulary: Vocabulary | None = None,
        space: EmbeddingSpace = CLIP_SPACE,
        text_encoder: TextEncoder | None = None,
    ) -> None:
        self.network = network.eval()
        self.embedding_space = space
        width = network.config.embedding_width
        if width != space.width:
            raise SpaceMismatch(f"the network classifies {width}-d vectors, but {space} was named for it")
        if isinstance(text_encoder, Encoder):
            space.ensure(text_encoder.embedding_space, doing="the detector's text encoder")
        self.text_encoder = text_encoder
        self.vocabulary = None if vocabulary is None else self._fitting(vocabulary)

    @classmethod
    def from_pretrained(
        cls,
        path_or_name: str | Path,
        *,
        vocabulary: Vocabulary | None = None,
        text_encoder: TextEncoder | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> Detic:
        """A detector from trained weights.

        Args:
            path_or_name: an official checkpoint (``.pth``, or detectron2's ``.pkl``), a directory that
                ``save_directory`` wrote, or a registered name such as ``"toy_detic"``.
            vocabulary: in place of the one that comes with the weights. Official checkpoints come with none.
            text_encoder: see the class.
            device: where the weights go.
            dtype: of the weights; None keeps the stored one, but float32 for float16 on the CPU, where that
                is slower.

        Raises:
            UnknownModel: neither a registered name nor a path.
            WeightsNotFound: there is no such file or directory.
            CheckpointError: the weights are damaged or belong to another network.
            InputError: the vocabulary is of another width than the network.
        """
        path = locate(path_or_name)
        if path.is_dir():
            from bindplug_detic.directory import load_directory

            loaded = load_directory(path, device="cpu", dtype=None)
            network, space = loaded.network, loaded.space
            vocabulary = vocabulary or Vocabulary(tuple(loaded.names), loaded.embeddings)
        else:
            from bindplug_detic.checkpoint import network_from_official

            network, space = network_from_official(path), CLIP_SPACE
        return cls(network, vocabulary, space, text_encoder).to(
            device, dtype or suited_dtype(network, device)
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.network.parameters()).dtype

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Detic:
        """Move the weights; returns the detector itself."""
        self.network.to(device=device, dtype=dtype)
        return self

    def set_vocabulary(
        self,
        names: Vocabulary | Sequence[str] | str | None = None,
        embeddings: Tensor | Any | None = None,
    ) -> None:
        """Change what is looked for from now on; boxes and masks do not depend on it.

        Args:
            names: C names, or a :class:`Vocabulary`. Without ``embeddings`` they are embedded as "a NAME" by
                the text encoder or, if there is none, taken from the present vocabulary.
            embeddings: (C, D) rows in the detector's space, of any length but zero; without ``names`` the
                classes are called "class 0", "class 1", …

        Raises:
            InputError: nothing given, rows of another width or that point nowhere, as many names as rows are
                not there, or a name that nothing can embed.
        """
        if isinstance(names, Vocabulary) and embeddings is None:
            self.vocabulary = self._fitting(names)
        elif embeddings is not None:
            rows = checked_rows(embeddings)
            given = names.names if isinstance(names, Vocabulary) else names
            self.vocabulary = self._fitting(
                Vocabulary(_numbered(len(rows)) if given is None else checked_names(given), rows)
            )
        elif names is not None:
            self.vocabulary = self._resolved(names)
        else:
            expected = "names, embeddings, or both"
            raise InputError("set_vocabulary()", found="neither names nor embeddings", expected=expected)

    def __call__(
        self,
        images: Any,
        *,
        vocabulary: Words | None = None,
        threshold: float | Sequence[float] | Tensor = THRESHOLD,
        nms_threshold: float | None = None,
        top_k: int | None = None,
        one_class_per_proposal: bool = False,
        with_masks: bool = True,
        batch_size: int = 1,
        resize: Edges = None,
    ) -> Any:
        """Find what the vocabulary names.

        Args:
            images: one picture, or a list of them: paths, bytes, file objects, PIL images, arrays (H, W, 3)
                or tensors (3, H, W), of any size.
            vocabulary: for this call alone: a :class:`Vocabulary`, names, or rows (C, D).
            threshold: scores, from 0 to 1, must exceed it; one number, or one for each class.
            nms_threshold: of two boxes of a class that overlap (IoU) by more, the worse is dropped; None for
                the configuration's.
            top_k: most detections in a picture; None for the configuration's.
            one_class_per_proposal: whether each region keeps its best class only.
            with_masks: whether to find masks too.
            batch_size: pictures that go through the network together.
            resize: None for the configuration's rule (short edge 800, long at most 1333, in the published
                models), False to keep every picture's size, or (short, long) in pixels.

        Returns:
            :class:`Detections` for one picture, a list of them for a list; empty where nothing was found.

        Raises:
            InputError: a picture that cannot be read, no vocabulary, or one of another width, or an option
                out of its range.
        """
        words = self._for_call(vocabulary)
        least = checked_threshold(threshold, len(words))
        least = least.to(self.device) if isinstance(least, Tensor) else least
        check_fraction("nms_threshold", nms_threshold)
        check_count("top_k", top_k)
        sources, is_single = as_sources(images)
        found: list[Detections] = []
        for pictures, tensors in self._batches(sources, resize, batch_size):
            with torch.inference_mode():
                raw = self.network(
                    tensors,
                    words.embeddings.to(self.device),
                    score_threshold=least,
                    nms_threshold=nms_threshold,
                    top_k=top_k,
                    one_class_per_proposal=one_class_per_proposal,
                    with_masks=with_masks,
                )
            found += [
                in_picture(one, picture, tensor.shape[1:], words.names)
                for one, picture, tensor in zip(raw, pictures, tensors, strict=True)
            ]
        return found[0] if is_single else found

    def propose(self, images: Any, *, top_k: int = 256, batch_size: int = 1, resize: Edges = None) -> Any:
        """Where any object may be, whatever its class.

        Args:
            images: as for a call.
            top_k: most boxes in a picture.
            batch_size: as for a call.
            resize: as for a call.

        Returns:
            (boxes, scores): (N, 4) float32 x1, y1, x2, y2 in pixels of the picture and (N,) from 0 to 1, best
            first, on the CPU; a list of such pairs for a list of pictures.

        Raises:
            InputError: as for a call.
        """
        check_count("top_k", top_k)
        sources, is_single = as_sources(images)
        found: list[tuple[Tensor, Tensor]] = []
        for pictures, tensors in self._batches(sources, resize, batch_size):
            with torch.inference_mode():
                x, sizes = self.network.batch(tensors)
                raw = self.network.propose(self.network.features(x), sizes)
            for (boxes, scores), picture, tensor in zip(raw, pictures, tensors, strict=True):
                scaled, kept = scale_boxes(plain(boxes), tensor.shape[1:], (picture.height, picture.width))
                found.append((scaled[:top_k], plain(scores)[kept][:top_k]))
        return found[0] if is_single else found

    def _batches(
        self, sources: list[Any], resize: Edges, batch_size: int
    ) -> Iterator[tuple[list[Image.Image], list[Tensor]]]:
        """Pictures read only when their turn comes, with what the network sees of them."""
        config = self.network.config
        edges = checked_edges(resize, (config.short_edge, config.long_edge))
        check_count("batch_size", batch_size)
        waiting = iter(sources)
        while group := list(islice(waiting, batch_size)):
            pictures = [read_picture(source) for source in group]
            yield pictures, [to_tensor(picture, edges).to(self.device) for picture in pictures]

    def _for_call(self, words: Words | None) -> Vocabulary:
        if words is not None:
            return self._resolved(words)
        present = self.vocabulary
        if present is None:
            remedy = "Call set_vocabulary(names, embeddings), or give vocabulary= to the call."
            raise InputError("Detic", found="no vocabulary", expected="what to look for", remedy=remedy)
        return present

    def _resolved(self, words: Words) -> Vocabulary:
        if isinstance(words, Vocabulary):
            return self._fitting(words)
        if hasattr(words, "ndim"):
            rows = checked_rows(words)
            return self._fitting(Vocabulary(_numbered(len(rows)), rows))
        names = checked_names(words)
        if self.text_encoder is not None:
            return self._fitting(Vocabulary(names, self._embedded(self.text_encoder, names)))
        return self._for_call(None).subset(names)

    def _embedded(self, encoder: TextEncoder, names: Sequence[str]) -> Tensor:
        prompts = [PROMPT.format(name.replace("_", " ")) for name in names]
        if isinstance(encoder, Encoder):
            return encoder.embed([text(prompt) for prompt in prompts])
        return encoder(prompts)

    def _fitting(self, vocabulary: Vocabulary) -> Vocabulary:
        if vocabulary.width != self.embedding_space.width:
            raise InputError(
                "vocabulary",
                found=f"rows of width {vocabulary.width}",
                expected=f"{self.embedding_space.width}, for {self.embedding_space}",
                remedy="Vectors of another space need a bridge: bindplug.upgrade(detector, model, bridge=...).",
            )
        return vocabulary

    def __repr__(self) -> str:
        return f"Detic({self.vocabulary}, {self.embedding_space}, {self.device})"


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"class {row}" for row in range(count))
