"""What a generator makes of the demo's files, by `bindplug generate`, and what another CLIP sees in it.

Nothing is picked: every picture counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

import bindplug
from bindplug.progress import iterate_with_progress
from bindplug_toyworld.commands import Asked, arguments_for, find_command, run_command, typed
from bindplug_toyworld.evaluate_generation import Judge
from bindplug_toyworld.things import CLASSNAMES, label_of

if TYPE_CHECKING:
    from bindplug_toyworld.showcase import Exhibit

DRAWN = (
    ("dog", "audio"),
    ("helicopter", "audio"),
    ("bell", "depth"),
    ("fire", "thermal"),
    ("running", "imu"),
    ("bee", "text"),
)
"""What pictures are made from, one each."""

BLEND = (("bicycle", "image"), ("bell", "audio"))
"""Two files whose sum becomes a picture: the first of the sums that the demo also searches by."""

MORPH = (("dog", "audio"), ("train", "audio"))
MORPH_PICTURES = 6
JUDGE = "toy_foreign_clip"
"""A CLIP that shares no weights with the model and says what the pictures show."""


@dataclass(frozen=True)
class Drawing:
    """One generated picture.

    Attributes:
        asked: what it was made from; two for a blend or a step between two.
        picture: the file.
        seen: the two things that the judge sees most likely in it, best first.
        right: whether the first of them is what was asked for; for two, whether both are those.
    """

    asked: tuple[Asked, ...]
    picture: Path
    seen: tuple[str, ...]
    right: bool


@dataclass(frozen=True)
class Gallery:
    """Generated pictures.

    Attributes:
        commands: what was run, with paths as seen from the output directory.
        judge: which model tells what they show.
        single: from one file each.
        blend: from a sum of two.
        morph: on the way from one sound to another.
    """

    commands: tuple[str, ...]
    judge: str
    single: tuple[Drawing, ...]
    blend: Drawing
    morph: tuple[Drawing, ...]

    @property
    def right(self) -> tuple[int, int]:
        """Pictures from one file each that show its thing, of all those."""
        return sum(drawing.right for drawing in self.single), len(self.single)


def generate(
    exhibits: Iterable[Exhibit],
    directory: Path,
    model_options: Sequence[str],
    *,
    pipeline: str,
    seed: int = 0,
    quiet: bool = False,
) -> Gallery:
    """Make pictures of the demo's files, by ``bindplug generate``, and let another CLIP say what they show.

    Args:
        exhibits: whose files are the queries.
        directory: gets ``drawn`` with the pictures.
        model_options: which model, as on the command line.
        pipeline: which diffusers pipeline.
        seed: of the noise that pictures start from; the same for all.
        quiet: draw no progress bar.

    Raises:
        BindplugError: the command cannot run; e.g. MissingDependency, UnknownModel.
    """
    find_command("generate")
    files = {exhibit.thing: exhibit.files for exhibit in exhibits}
    drawn = directory / "drawn"
    drawn.mkdir(parents=True, exist_ok=True)
    morph = [str(MORPH_PICTURES)]
    wanted = {
        "each.png": (DRAWN, ["--each"]),
        "sum.png": (BLEND, []),
        "morph.png": (MORPH, ["--interpolate", *morph]),
    }
    commands = []
    for name, (asked, how) in iterate_with_progress(
        wanted.items(), label="drawing pictures", quiet=quiet or None
    ):
        sources = [item for thing, modality in asked for item in arguments_for(files, thing, modality)]
        arguments = [*sources, *how, "--seed", str(seed), "--pipeline", pipeline, "-o", str(drawn / name)]
        run_command("generate", [*arguments, *model_options, "--quiet"])
        commands.append(typed("generate", arguments, directory))
    single = [((asked,), drawn / f"each-{number + 1}.png") for number, asked in enumerate(DRAWN)]
    between = [(MORPH, drawn / f"morph-{number + 1}.png") for number in range(MORPH_PICTURES)]
    judged = _judged([*single, (BLEND, drawn / "sum.png"), *between])
    count = len(single)
    return Gallery(tuple(commands), JUDGE, tuple(judged[:count]), judged[count], tuple(judged[count + 1 :]))


def _judged(made: Sequence[tuple[tuple[Asked, ...], Path]]) -> list[Drawing]:
    judge = Judge(bindplug.load(JUDGE, modalities=["image", "text"]))
    pictures = []
    for _, path in made:
        with Image.open(path) as file:
            pictures.append(file.convert("RGB"))
    best = judge.scores(pictures).topk(2, dim=1).indices.tolist()
    drawings = []
    for (asked, path), answer in zip(made, best, strict=True):
        seen = tuple(CLASSNAMES[label] for label in answer)
        wanted = {CLASSNAMES[label_of(thing)] for thing, _ in asked}
        drawings.append(Drawing(tuple(asked), path, seen, set(seen[: len(wanted)]) == wanted))
    return drawings
