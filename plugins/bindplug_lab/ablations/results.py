"""Results of runs, each a JSON file of its own, so that a grid that was interrupted goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bindplug_lab.ablations.settings import VERSION, RunSettings
from bindplug_lab.output import write_whole


@dataclass(frozen=True)
class RunResult:
    """What a run gave.

    Attributes:
        settings: of the run.
        figures: what it measured; empty if it failed.
        error: why it failed, or ``""``.
        seconds: wall-clock time of the run, its preparation not included.
    """

    settings: RunSettings
    figures: Mapping[str, Any]
    error: str
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether it has no figures."""
        return bool(self.error)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "version": VERSION,
            "settings": self.settings.to_dict(),
            "figures": dict(self.figures),
            "error": self.error,
            "seconds": self.seconds,
        }


class ResultStore:
    """The results in a directory, named after the keys of their settings.

    Args:
        directory: created when the first result is written.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)

    def read(self, settings: RunSettings) -> RunResult | None:
        """The result of exactly these settings, or None. A damaged file counts as none."""
        try:
            content = json.loads(self._path(settings).read_text("utf-8"))
            if content["version"] != VERSION or content["settings"] != settings.to_dict():
                return None
            figures, error, seconds = content["figures"], content["error"], float(content["seconds"])
            if not isinstance(figures, dict) or not isinstance(error, str) or not (figures or error):
                return None
            return RunResult(settings, figures, error, seconds)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def read_all(self, runs: Iterable[RunSettings]) -> dict[str, RunResult]:
        """The results there are of these runs, by the keys of their settings."""
        results = {settings.key: self.read(settings) for settings in runs}
        return {key: result for key, result in results.items() if result is not None}

    def write(self, result: RunResult) -> None:
        """Keep a result; its file appears whole or not at all."""
        self.directory.mkdir(parents=True, exist_ok=True)
        write_whole(self._path(result.settings), json.dumps(result.to_dict(), indent=1).encode())

    def _path(self, settings: RunSettings) -> Path:
        return self.directory / f"{settings.key}.json"
