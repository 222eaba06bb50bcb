"""Results of a model on a task, and the directory that keeps them.

``DIR/TASK/MODEL.json`` is one result, ``DIR/TASK/MODEL.npz`` its bootstrap draws; ``DIR/run.json`` holds the settings
that all results of a directory share. Each file appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bindplug.errors import InputError
from bindplug_lab.output import write_whole
from bindplug_lab.statistics import Interval

__all__ = ["Result", "ResultStore", "Settings"]

FORMAT = 2
"""Version of the directory's layout."""


@dataclass(frozen=True)
class Settings:
    """What all results of a run share.

    Attributes:
        limit: items of a task at most; None for all.
        seed: of what is drawn: limited items, supports, resamples.
        draws: resamples of the items, for intervals.
        level: of intervals.
        allow_missing: whether incomplete data were accepted.
    """

    limit: int | None = None
    seed: int = 0
    draws: int = 1000
    level: float = 0.95
    allow_missing: bool = False


@dataclass
class Result:
    """What one model reached on one task.

    Attributes:
        task, title, protocol: of the task.
        model: its name as given.
        metrics: figures by name, as ``"accuracy"``, ``"text_to_audio recall@1"`` or ``"prototypes 4-shot"``.
        main: the name of the task's main figure.
        chance: by figure's name, what scores that are all alike reach.
        published: ``{"model", "metric", "value", "source", "direction"}`` of others, values in percent.
        count: items measured; of pairs those on the right.
        data_size: items that the data set lists.
        published_size: items of the published test set; 0 if unknown.
        limit: the number of items that were drawn; None for all.
        skipped: ``{"item", "source", "reason"}`` of items that could not be embedded.
        notes: ``{"item", "source", "note"}`` of what readers remarked.
        remarks: what a reader of the result should know.
        model_digest, data_digest: what it was measured with and on; empty where that cannot be told.
        version: of bindplug.
        seconds: how long it took.
        draws: figures by name in each resample; models measured on the same items meet the same resamples.
    """

    task: str
    title: str
    protocol: str
    model: str
    metrics: dict[str, Interval]
    main: str
    chance: dict[str, float]
    published: list[dict[str, Any]]
    count: int
    data_size: int
    published_size: int
    limit: int | None
    skipped: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    model_digest: str = ""
    data_digest: str = ""
    version: str = ""
    seconds: float = 0.0
    draws: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without draws."""
        rest = {key: value for key, value in vars(self).items() if key not in ("metrics", "draws")}
        return {**rest, "metrics": {name: interval.as_dict() for name, interval in self.metrics.items()}}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], draws: dict[str, np.ndarray]) -> Result:
        """The result that :meth:`as_dict` wrote."""
        metrics = {name: _interval(value) for name, value in content["metrics"].items()}
        return cls(**{**content, "metrics": metrics, "draws": draws})


def _interval(content: Mapping[str, Any]) -> Interval:
    low, high = (float("nan") if content[end] is None else content[end] for end in ("low", "high"))
    return Interval(content["value"], low, high, content["level"], content["count"])


class ResultStore:
    """Results in a directory.

    Args:
        directory: made if it is missing.
        settings: of this run.
        overwrite: drop results of other settings, data or weights instead of refusing to mix with them.

    Raises:
        InputError: the directory holds results of other settings or is not one of results, or cannot be written.
    """

    def __init__(
        self, directory: str | os.PathLike[str], settings: Settings, *, overwrite: bool = False
    ) -> None:
        self.directory, self.settings, self.overwrite = Path(directory), settings, overwrite
        if self.directory.exists() and not self.directory.is_dir():
            raise InputError(str(self.directory), found="a file", expected="a directory for results")
        run = self.directory / "run.json"
        identity = {"format": FORMAT, **asdict(settings)}
        if self.directory.is_dir() and any(self.directory.iterdir()):
            self._check(run, identity)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            write_whole(run, (json.dumps(identity, indent=2) + "\n").encode())
        except OSError as error:
            raise _not_writable(self.directory, error) from None

    def get(self, task: str, model: str, model_digest: str, data_digest: str) -> Result | None:
        """The result of an earlier run; None if there is none, or ``overwrite`` drops it.

        Raises:
            InputError: it was measured with other weights or on other files.

        Warns:
            UserWarning: it is damaged; it is measured again.
        """
        path = self._path(task, model)
        if not path.exists():
            return None
        try:
            result = _read(path)
        except Exception:  # whatever a damaged file makes json or numpy raise
            warnings.warn(f"{path} is damaged and is measured again", stacklevel=2)
            return None
        if not all((result.data_digest, data_digest, result.model_digest, model_digest)):
            return None
        if (result.model_digest, result.data_digest) == (model_digest, data_digest):
            return result
        if self.overwrite:
            return None
        different = "files, labels or prompts"
        if result.model_digest != model_digest:
            different = "weights, dtype, kind of device or version of bindplug"
        raise InputError(
            str(path),
            found=f"a result of {model} with other {different}",
            expected="the same, to go on with it",
            remedy="Say --overwrite to measure it again, or give another --output",
        )

    def put(self, result: Result) -> None:
        """Keep a result; it is on disk, whole, when this returns.

        Raises:
            InputError: it cannot be written.
        """
        path = self._path(result.task, result.model)
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {name: values.astype(np.float64) for name, values in result.draws.items()}
        np.savez_compressed(buffer, **arrays)
        content = buffer.getvalue()
        record = {"draws_sha256": hashlib.sha256(content).hexdigest(), **result.as_dict()}
        try:
            path.parent.mkdir(exist_ok=True)
            write_whole(path.with_suffix(".npz"), content)
            write_whole(
                path, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")
            )
        except OSError as error:
            raise _not_writable(path, error) from None

    def all(self) -> list[Result]:
        """All results here, by task and model; damaged ones are left out."""
        results = []
        for path in sorted(self.directory.glob("*/*.json")):
            try:
                results.append(_read(path))
            except Exception:  # get() has told of it
                continue
        return results

    def _path(self, task: str, model: str) -> Path:
        digest = hashlib.sha256(model.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(model).name or "model").strip("-.")[:60]
        return self.directory / task / f"{name or 'model'}-{digest}.json"

    def _check(self, run: Path, identity: Mapping[str, Any]) -> None:
        try:
            earlier = json.loads(run.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            earlier = None
        if not isinstance(earlier, dict):
            raise InputError(
                str(self.directory),
                found="files, and no run.json of an evaluation",
                expected="a new directory, or one of results",
                remedy="Give another --output",
            )
        different = [key for key, value in identity.items() if earlier.get(key) != value]
        if not different:
            return
        if self.overwrite:
            for path in self.directory.glob("*/*.json"):
                path.unlink()
            return
        words = ", ".join(f"{key} {earlier.get(key)} and not {identity[key]}" for key in different)
        raise InputError(
            str(self.directory),
            found=f"results with {words}",
            expected="the same settings, to go on with them",
            remedy="Say --overwrite to drop them, or give another --output",
        )


def _read(path: Path) -> Result:
    record = json.loads(path.read_text(encoding="utf-8"))
    content = path.with_suffix(".npz").read_bytes()
    if hashlib.sha256(content).hexdigest() != record.pop("draws_sha256"):
        raise ValueError("draws of another result")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        draws = {name: archive[name] for name in archive.files}
    return Result.from_dict(record, draws)


def _not_writable(path: Path, error: OSError) -> InputError:
    return InputError(
        str(path),
        found=error.strerror or str(error),
        expected="a place that can be written, with space left",
    )
