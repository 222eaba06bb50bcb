"""One cold start, in a process of its own: from nothing to the embedding of a sound.

python -m benchmarks.embed_first_sound naive|bindplug CHECKPOINT SOUND huge|smoke
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.naive.shape import Shape

Mark = Callable[[str], None]


def naive(checkpoint: str, sound: str, shape: Shape, mark: Mark) -> Tensor:
    """Build everything, load everything, read the sound, embed it."""
    import torch
    import torch.nn.functional as F

    from benchmarks.naive.model import NaiveImageBind
    from benchmarks.naive.sounds import read_sounds

    mark("import")
    model = NaiveImageBind(shape)
    mark("build")
    model.load_state_dict(torch.load(checkpoint))
    model.eval()
    mark("load")
    pictures = read_sounds([sound])
    mark("read sound")
    with torch.no_grad():
        rows = F.normalize(model({"audio": pictures})["audio"], dim=-1)
    mark("embed")
    return rows


def bindplug(checkpoint: str, sound: str, shape: Shape, mark: Mark) -> Tensor:
    """The lines a user writes."""
    import bindplug
    from benchmarks.naive.shape import HUGE

    mark("import")
    if shape == HUGE:
        model = bindplug.load(checkpoint, modalities=["audio"])
    else:  # only the published shape can be told from a checkpoint
        from bindplug.imagebind import ImageBind, ImageBindConfig

        config = ImageBindConfig.from_official(shape.official_keywords())
        model = ImageBind.from_official(checkpoint, config, modalities=["audio"])
    mark("load")
    rows = model.embed([bindplug.audio(sound)], progress=False)
    mark("read sound and embed")
    return rows


def main(arguments: list[str]) -> None:
    """Embed, then print one line of JSON: seconds of each stage, peak memory, and the embedding."""
    from benchmarks.naive.shape import HUGE, SMOKE

    side, checkpoint, sound, size = arguments
    stages: dict[str, float] = {}
    last = time.perf_counter()

    def mark(stage: str) -> None:
        nonlocal last
        now = time.perf_counter()
        stages[stage], last = now - last, now

    embed = {"naive": naive, "bindplug": bindplug}[side]
    rows = embed(checkpoint, sound, {"huge": HUGE, "smoke": SMOKE}[size], mark)
    from benchmarks.machine import (
        peak_bytes,
    )  # imports a little of bindplug, so not before the naive side is done

    print(json.dumps({"peak_bytes": peak_bytes(), "stages": stages, "rows": rows.tolist()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
