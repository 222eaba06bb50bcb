"""What a generator makes of the demo's files, by `bindplug generate`, and what another CLIP sees in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

import bindplug
from bindplug.encoder import Encoder
from bindplug.progress import iterate_with_progress
from bindplug_toyworld.commands import Prompt, arguments_for, find_command, run_command, shell_line
from bindplug_toyworld.demo_files import Exhibit
from bindplug_toyworld.things import CLASSNAMES, label_of

PROMPTS = (
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
class GeneratedPicture:
    """One generated picture.

    Attributes:
        prompts: what it was made from; two for a blend or a step between two.
        picture: the file.
        judged_as: the two things that the judge sees most likely in it, best first.
        right: whether the first of them is the prompt's thing; for two prompts, whether both are theirs.
    """

    prompts: tuple[Prompt, ...]
    picture: Path
    judged_as: tuple[str, ...]
    right: bool


@dataclass(frozen=True)
class GenerationResults:
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
    single: tuple[GeneratedPicture, ...]
    blend: GeneratedPicture
    morph: tuple[GeneratedPicture, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """Pictures from one file each that show its thing, of all those."""
        return sum(picture.right for picture in self.single), len(self.single)


class Judge:
    """Zero-shot classification of pictures over the twenty things.

    Args:
        encoder: a CLIP of image and text; pictures are enlarged by its own preprocessing.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.classifier = encoder.zero_shot_classifier(CLASSNAMES, progress=False)

    def scores(self, pictures: Sequence[Image.Image]) -> Tensor:
        """(N, 20) cosines of pictures and things."""
        rows = self.encoder.embed([bindplug.image(picture) for picture in pictures], progress=False)
        return (rows @ self.classifier).cpu()

    def answers(self, pictures: Sequence[Image.Image]) -> list[int]:
        """The label of the thing that each picture shows most likely."""
        return self.scores(pictures).argmax(dim=1).tolist()


def run_generation(
    exhibits: Iterable[Exhibit],
    directory: Path,
    model_options: Sequence[str],
    *,
    pipeline: str,
    seed: int = 0,
    quiet: bool = False,
) -> GenerationResults:
    """Make pictures of the demo's files, by ``bindplug generate``, and let another CLIP say what they show.

    Args:
        exhibits: whose files are the queries.
        directory: gets ``generated`` with the pictures.
        model_options: which model, as on the command line.
        pipeline: which diffusers pipeline.
        seed: of the noise that pictures start from; the same for all.
        quiet: draw no progress bar.

    Raises:
        BindplugError: the command cannot run; e.g. MissingDependency, UnknownModel.
    """
    find_command("generate")
    files = {exhibit.thing: exhibit.files for exhibit in exhibits}
    output = directory / "generated"
    output.mkdir(parents=True, exist_ok=True)
    runs = {
        "each.png": (PROMPTS, ["--each"]),
        "sum.png": (BLEND, []),
        "morph.png": (MORPH, ["--interpolate", str(MORPH_PICTURES)]),
    }
    commands = []
    for name, (prompts, options) in iterate_with_progress(
        runs.items(), label="generating pictures", quiet=quiet or None
    ):
        sources = [item for thing, modality in prompts for item in arguments_for(files, thing, modality)]
        arguments = [
            *sources,
            *options,
            "--seed",
            str(seed),
            "--pipeline",
            pipeline,
            "-o",
            str(output / name),
        ]
        run_command("generate", [*arguments, *model_options, "--overwrite", "--quiet"])
        commands.append(shell_line("generate", arguments, directory))
    single = [((prompt,), output / f"each-{number}.png") for number, prompt in enumerate(PROMPTS, start=1)]
    between = [(MORPH, output / f"morph-{number}.png") for number in range(1, MORPH_PICTURES + 1)]
    pictures = _judge_all([*single, (BLEND, output / "sum.png"), *between])
    count = len(single)
    return GenerationResults(
        tuple(commands), JUDGE, tuple(pictures[:count]), pictures[count], tuple(pictures[count + 1 :])
    )


def _judge_all(files: Sequence[tuple[tuple[Prompt, ...], Path]]) -> list[GeneratedPicture]:
    judge = Judge(bindplug.load(JUDGE, modalities=["image", "text"]))
    pictures = []
    for _, path in files:
        with Image.open(path) as file:
            pictures.append(file.convert("RGB"))
    best = judge.scores(pictures).topk(2, dim=1).indices.tolist()
    judgements = []
    for (prompts, path), labels in zip(files, best, strict=True):
        judged_as = tuple(CLASSNAMES[label] for label in labels)
        expected = {CLASSNAMES[label_of(thing)] for thing, _ in prompts}
        right = set(judged_as[: len(expected)]) == expected
        judgements.append(GeneratedPicture(tuple(prompts), path, judged_as, right))
    return judgements
