"""The parts of a comparison, each measured once and kept in a file: what a run that ends early leaves to the next."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor

from bindplug.errors import InputError
from bindplug.files import write_whole
from bindplug_lab.judging.anchors import embed_worlds
from bindplug_lab.judging.measures import MEASURES, by_prototypes
from bindplug_lab.judging.settings import JudgeSettings
from bindplug_lab.judging.towers import bind_sense, embed_sense
from bindplug_lab.world import World, equalize, open_world

SETTINGS = "settings.json"


class Parts:
    """The files of a comparison.

    Args:
        output: directory of the comparison; its parts are in ``parts``.
        cache: directory of rendered worlds and trained encoders.
        settings: sizes.
    """

    def __init__(self, output: Path, cache: Path, settings: JudgeSettings) -> None:
        self.output, self.cache, self.settings = output, cache, settings

    def open(self) -> None:
        """Make the directory, or continue in one of the same settings.

        Raises:
            InputError: it holds a comparison of other settings, or other files.
        """
        path = self.output / SETTINGS
        if path.is_file():
            try:
                before = json.loads(path.read_text("utf-8"))
            except ValueError:
                before = {}
            changes = [key for key, value in self.settings.to_dict().items() if before.get(key) != value]
            if changes:
                key = changes[0]
                raise InputError(
                    str(self.output),
                    found=f"a comparison with {key}={before.get(key)!r}",
                    expected=f"one with {key}={getattr(self.settings, key)!r}",
                    remedy="give the same settings to continue it, or another --output",
                )
            return
        if (self.output.is_dir() and any(self.output.iterdir())) or self.output.is_file():
            raise InputError(
                str(self.output),
                found="other files",
                expected="an empty directory or a comparison to continue",
                remedy="give another --output",
            )
        self.output.mkdir(parents=True, exist_ok=True)
        _write_json(path, self.settings.to_dict())

    def directory(self, anchor: str) -> Path:
        """Where an anchor's parts are."""
        plain = re.sub(r"[^A-Za-z0-9_.-]", "-", anchor)
        if plain != anchor or plain.startswith("."):
            plain += "-" + hashlib.sha256(anchor.encode()).hexdigest()[:6]
        return self.output / "parts" / plain

    def has_anchor(self, anchor: str) -> bool:
        """Whether an anchor is embedded and measured."""
        return (self.directory(anchor) / "own.npz").is_file()

    def has_binding(self, anchor: str, sense: str, seed: int) -> bool:
        """Whether a tower is bound and measured."""
        return self._binding(anchor, sense, seed).is_file()

    def _binding(self, anchor: str, sense: str, seed: int) -> Path:
        return self.directory(anchor) / f"{sense}-{seed}.npy"

    def own(self, anchor: str) -> dict[str, NDArray[np.bool_]]:
        """For each measure of the anchor's own accuracy, (N,) which test pictures it got right."""
        with np.load(self.directory(anchor) / "own.npz") as file:
            return {name: file[name] for name in MEASURES}

    def emergent(self, anchor: str, sense: str) -> NDArray[np.bool_]:
        """(seeds, N) which test recordings were classified right by each seed's tower."""
        return np.stack([np.load(self._binding(anchor, sense, seed)) for seed in range(self.settings.seeds)])

    def world(self, part: str) -> World:
        """The rendered scenes of a part."""
        return open_world(self.settings.worlds()[part], self.cache / "worlds", quiet=True)

    def labels(self, part: str) -> Tensor:
        """(N,) classes of a part's scenes."""
        return self.world(part).tensor("labels")[:, 0]

    def recordings(self, part: str, sense: str) -> Tensor:
        """(N, 1, H, W) what towers see of a part; depth maps are equalized, so that far things stand out too."""
        recordings = self.world(part).tensor(sense)
        return equalize(recordings) if sense == "depth" else recordings

    def measure_anchor(self, anchor: str, quiet: bool | None = None) -> None:
        """Train the anchor if it is missing, embed all pictures, and measure its own accuracy."""
        rows = embed_worlds(anchor, self.settings, self.cache, quiet=quiet)
        directory = self.directory(anchor)
        write_whole(directory / "rows.safetensors", save(rows))
        answers = {
            name: measure(rows["test"], self.labels("test"), rows["support"], self.labels("support"))
            for name, measure in MEASURES.items()
        }
        content = BytesIO()
        np.savez(content, allow_pickle=False, **answers)
        write_whole(directory / "own.npz", content.getvalue())

    def measure_binding(self, anchor: str, sense: str, seed: int, quiet: bool | None = None) -> None:
        """Bind one tower to an anchor, and classify the test recordings by the means of the anchor's pictures."""
        rows = load_file(self.directory(anchor) / "rows.safetensors")
        path = self._binding(anchor, sense, seed)
        checkpoints = path.with_suffix(".checkpoints")
        tower = bind_sense(
            sense,
            rows[sense],
            self.recordings(sense, sense),
            self.settings,
            seed,
            checkpoints=checkpoints,
            quiet=quiet,
        )
        answers = by_prototypes(
            embed_sense(tower, self.recordings("test", sense)),
            self.labels("test"),
            rows["support"],
            self.labels("support"),
        )
        content = BytesIO()
        np.save(content, answers)
        write_whole(path, content.getvalue())
        shutil.rmtree(checkpoints)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    write_whole(path, (json.dumps(value, indent=1) + "\n").encode())
