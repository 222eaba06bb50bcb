"""A detector that takes pictures and prompts as queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bindplug.errors import InputError
from bindplug.query import Leaf, Query
from bindplug_serve.failures import Refusal
from bindplug_serve.limits import Limits
from bindplug_serve.sizes import check_size

if TYPE_CHECKING:
    from bindplug.encoder import Encoder


@dataclass(frozen=True)
class Detection:
    """An object in a picture.

    Attributes:
        prompt: place of the prompt among those given.
        score: in [0, 1].
        box: left, top, right, bottom, in pixels.
    """

    prompt: int
    score: float
    box: tuple[float, float, float, float]


class Detector:
    """Detic, prompted through an encoder.

    Args:
        name: of a detector, or path to Detic's weights.
        model: embeds the prompts.
        bridge: from the model's space to the detector's, by name or path; None for the registered one.
    """

    def __init__(self, name: str, model: Encoder, bridge: str | None = None) -> None:
        from bindplug import upgrade
        from bindplug_detic import Detic

        detic = Detic.from_pretrained(name, device=str(model.device))
        self.name, self.model = name, model
        self.upgraded: Any = upgrade(detic, model, bridge=bridge)

    def __call__(
        self, picture: Query, prompts: Sequence[Query], threshold: float | None, limits: Limits
    ) -> tuple[tuple[int, int], list[Detection]]:
        """Height and width of a picture, and the detections in it, best first.

        Raises:
            Refusal: the picture or a prompt cannot be read.
        """
        (_, leaf), *_ = picture.terms
        assert isinstance(leaf, Leaf)
        with _blame("image"):
            check_size(leaf, limits)
            pixels = self.model.preprocess["image"].read(leaf.source, **leaf.options)
        for place, prompt in enumerate(prompts):
            with _blame(f"prompts[{place}]"):
                for _, leaf in prompt.terms:
                    if isinstance(leaf, Leaf):
                        check_size(leaf, limits)
        with _blame("prompts"):
            detections = self.upgraded(pixels, list(prompts), threshold=threshold)
        columns = (detections.label_indices, detections.scores, detections.boxes)
        return detections.image_size, [
            Detection(prompt, score, (left, top, right, bottom))
            for prompt, score, (left, top, right, bottom) in zip(
                *(column.tolist() for column in columns), strict=True
            )
        ]


@contextmanager
def _blame(part: str) -> Iterator[None]:
    """Names the part of the request that cannot be read."""
    try:
        yield
    except InputError as error:
        raise Refusal(400, f"{part}: {error}", "invalid_input", param=part) from error
