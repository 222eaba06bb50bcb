"""Detic as a detector of pictures: reading, resizing, the network, and scaling back to the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from bindplug import EmbeddingSpace, Encoder, text
from bindplug.errors import InputError, SpaceMismatch, WeightsNotFound
from bindplug.models import find_model, list_models
from bindplug_detic.boxes import scale_boxes
from bindplug_detic.options import check_count, check_fraction, checked_edges, checked_thresholds
from bindplug_detic.pictures import as_sources, read_picture, to_tensor
from bindplug_detic.results import Detections, to_float32
from bindplug_detic.vocabulary import Vocabulary, checked_names, checked_rows

if TYPE_CHECKING:
    from bindplug_detic.network import DeticNetwork

CLIP_SPACE = EmbeddingSpace("open_clip:ViT-B-32:openai", 512)
"""The text space that the published Detic classifies in. Source: Detic, arXiv 2201.02605, and its model zoo."""

PROMPT = "a {}"
"""How a class name is written for the text tower. Source: Detic's vocabularies, ``*_clip_a+cname``."""

THRESHOLD = 0.5
"""The least score of a detection. Source: Detic's demo."""

TOOL = "detector"
WEIGHT_SUFFIXES = (".pth", ".pt", ".pkl", ".bin", ".safetensors", ".json")

TextEncoder = Encoder | Callable[[list[str]], Tensor]
"""An encoder of the detector's space, or a function from N prompts to (N, D) vectors in it."""
ClassNames = Vocabulary | Sequence[str] | str | Tensor
Edges = bool | tuple[int, int] | None


class Detic:
    """A detector of the classes that its vocabulary names.

    A call changes nothing of the detector, so several threads may call it at once.

    Args:
        network: put into evaluation mode.
        vocabulary: the classes to detect, where a call has none of its own; None to set it later.
        space: the space of the vocabularies' vectors; the published models' by default.
        text_encoder: embeds names that the vocabulary lacks.

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
            raise SpaceMismatch(f"the network classifies {width}-d vectors, but the space is {space}")
        if isinstance(text_encoder, Encoder):
            space.ensure(text_encoder.embedding_space, doing="the detector's text encoder")
        self.text_encoder = text_encoder
        self.vocabulary = None if vocabulary is None else self._checked(vocabulary)

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
            path_or_name: an official checkpoint (``.pth``, or detectron2's ``.pkl``), a directory written by
                ``save_directory``, or a registered name such as ``"toy_detic"``.
            vocabulary: instead of the one stored with the weights. Official checkpoints have none.
            text_encoder: see the class.
            device: of the weights.
            dtype: of the weights; None is the stored dtype, except that float16 becomes float32 on the CPU, where
                it is faster.

        Raises:
            UnknownModel: neither a registered name nor a path.
            WeightsNotFound: there is no such file or directory.
            CheckpointError: the weights are damaged or belong to another network.
            InputError: the vocabulary is of another width than the network.
        """
        path = find_weights(path_or_name)
        if path.is_dir():
            from bindplug_detic.directory import load_directory

            loaded = load_directory(path, device="cpu", dtype=None)
            network, space = loaded.network, loaded.space
            vocabulary = vocabulary or Vocabulary(tuple(loaded.names), loaded.embeddings)
        else:
            from bindplug_detic.checkpoint import network_from_official

            network, space = network_from_official(path), CLIP_SPACE
        return cls(network, vocabulary, space, text_encoder).to(
            device, dtype or default_dtype(network, device)
        )

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
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
        """Set the classes to detect; boxes and masks do not depend on them.

        Args:
            names: C names, or a :class:`Vocabulary`. Without ``embeddings`` they are embedded as "a NAME" by
                the text encoder or, if there is none, taken from the present vocabulary.
            embeddings: (C, D) rows in the detector's space, of any length but zero; without ``names`` the
                classes are called "class 0", "class 1", …

        Raises:
            InputError: no argument, rows of another width or without a direction, another number of names than
                of rows, or a name that cannot be embedded.
        """
        if isinstance(names, Vocabulary) and embeddings is None:
            self.vocabulary = self._checked(names)
        elif embeddings is not None:
            rows = checked_rows(embeddings)
            labels = names.names if isinstance(names, Vocabulary) else names
            self.vocabulary = self._checked(
                Vocabulary(_numbered_names(len(rows)) if labels is None else checked_names(labels), rows)
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
        vocabulary: ClassNames | None = None,
        threshold: float | Sequence[float] | Tensor = THRESHOLD,
        nms_threshold: float | None = None,
        top_k: int | None = None,
        one_class_per_proposal: bool = False,
        with_masks: bool = True,
        batch_size: int = 1,
        resize: Edges = None,
    ) -> Any:
        """Detect the classes of the vocabulary.

        Args:
            images: one picture, or a list of them: paths, bytes, file objects, PIL images, arrays (H, W, 3)
                or tensors (3, H, W), of any size.
            vocabulary: for this call alone: a :class:`Vocabulary`, names, or rows (C, D).
            threshold: scores, from 0 to 1, must exceed it; one number, or one for each class.
            nms_threshold: of two boxes of a class that overlap (IoU) by more, the worse is dropped; None for
                the configuration's.
            top_k: most detections in a picture; None for the configuration's.
            one_class_per_proposal: whether each region has its best class only.
            with_masks: whether to compute masks.
            batch_size: pictures that go through the network together.
            resize: None for the configuration's rule (short edge 800, long at most 1333, in the published
                models), False to keep every picture's size, or (short, long) in pixels.

        Returns:
            :class:`Detections` for one picture, a list of them for a list; empty where nothing is detected.

        Raises:
            InputError: a picture that cannot be read, no vocabulary, or one of another width, or an option
                out of its range.
        """
        classes = self._vocabulary_for_call(vocabulary)
        limits = checked_thresholds(threshold, len(classes)).to(self.device)
        check_fraction("nms_threshold", nms_threshold)
        check_count("top_k", top_k)
        sources, is_single = as_sources(images)
        results: list[Detections] = []
        for pictures, tensors in self._batches(sources, resize, batch_size):
            with torch.inference_mode():
                raw = self.network(
                    tensors,
                    classes.embeddings.to(self.device),
                    score_threshold=limits,
                    nms_threshold=nms_threshold,
                    top_k=top_k,
                    one_class_per_proposal=one_class_per_proposal,
                    with_masks=with_masks,
                )
            results += [
                Detections.from_raw(image, picture, tensor.shape[1:], classes.names)
                for image, picture, tensor in zip(raw, pictures, tensors, strict=True)
            ]
        return results[0] if is_single else results

    def propose(self, images: Any, *, top_k: int = 256, batch_size: int = 1, resize: Edges = None) -> Any:
        """Boxes of objects of any class.

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
        results: list[tuple[Tensor, Tensor]] = []
        for pictures, tensors in self._batches(sources, resize, batch_size):
            with torch.inference_mode():
                x, sizes = self.network.batch(tensors)
                raw = self.network.propose(self.network.features(x), sizes)
            for (boxes, scores), picture, tensor in zip(raw, pictures, tensors, strict=True):
                size = (picture.height, picture.width)
                scaled, rows = scale_boxes(to_float32(boxes), tensor.shape[1:], size)
                results.append((scaled[:top_k], to_float32(scores)[rows][:top_k]))
        return results[0] if is_single else results

    def _batches(
        self, sources: list[Any], resize: Edges, batch_size: int
    ) -> Iterator[tuple[list[Image.Image], list[Tensor]]]:
        """Batches of pictures, read one batch at a time, with the network's input of each."""
        config = self.network.config
        edges = checked_edges(resize, (config.short_edge, config.long_edge))
        check_count("batch_size", batch_size)
        remaining = iter(sources)
        while group := list(islice(remaining, batch_size)):
            pictures = [read_picture(source) for source in group]
            yield pictures, [to_tensor(picture, edges).to(self.device) for picture in pictures]

    def _vocabulary_for_call(self, names: ClassNames | None) -> Vocabulary:
        if names is not None:
            return self._resolved(names)
        if self.vocabulary is None:
            remedy = "Call set_vocabulary(names, embeddings), or give vocabulary= to the call."
            raise InputError("Detic", found="no vocabulary", expected="classes to detect", remedy=remedy)
        return self.vocabulary

    def _resolved(self, classes: ClassNames) -> Vocabulary:
        if isinstance(classes, Vocabulary):
            return self._checked(classes)
        if hasattr(classes, "ndim"):
            rows = checked_rows(classes)
            return self._checked(Vocabulary(_numbered_names(len(rows)), rows))
        names = checked_names(classes)
        if self.text_encoder is not None:
            return self._checked(Vocabulary(names, self._embed(self.text_encoder, names)))
        return self._vocabulary_for_call(None).subset(names)

    def _embed(self, encoder: TextEncoder, names: Sequence[str]) -> Tensor:
        prompts = [PROMPT.format(name.replace("_", " ")) for name in names]
        if isinstance(encoder, Encoder):
            return encoder.embed([text(prompt) for prompt in prompts])
        return encoder(prompts)

    def _checked(self, vocabulary: Vocabulary) -> Vocabulary:
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


def _numbered_names(count: int) -> tuple[str, ...]:
    return tuple(f"class {row}" for row in range(count))


def find_weights(path_or_name: str | Path) -> Path:
    """The file or directory of a path or a registered name; the name has precedence.

    Raises:
        UnknownModel: neither a registered name nor a path.
        WeightsNotFound: there is no such file or directory.
    """
    if isinstance(path_or_name, str) and path_or_name in {card.name for card in list_models(TOOL)}:
        return find_model(path_or_name, tool=TOOL)
    path = Path(path_or_name).expanduser()
    if path.exists():
        return path.parent if path.name == "config.json" else path
    name = str(path_or_name)
    if isinstance(path_or_name, Path) or "/" in name or "\\" in name or path.suffix in WEIGHT_SUFFIXES:
        names = ", ".join(card.name for card in list_models(TOOL)) or "none"
        raise WeightsNotFound(
            f"there is no file or directory {str(path)!r} (from {str(Path.cwd())!r}); give Detic's checkpoint "
            f"(.pth or .pkl), a directory of bindplug_detic, or a name: {names}"
        )
    return find_model(name, tool=TOOL)


def default_dtype(network: DeticNetwork, device: torch.device | str) -> torch.dtype | None:
    """Float32 for float16 weights on the CPU, where that is slower; else None, for the stored dtype."""
    stored = next(network.parameters()).dtype
    is_slow = torch.device(device).type == "cpu" and stored == torch.float16
    return torch.float32 if is_slow else None
