"""One motion as motion loggers write it: 8 s; acceleration in m/s^2 with gravity, rotation in rad/s."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import numpy as np

G = 9.80665
DEG = 180 / np.pi
SECONDS = 8.0
EPOCH_S = 1_709_294_400  # 2024-03-01 12:00:00 UTC
GRAVITY = np.array([[0.0], [0.0], [G]])

Builder = Callable[[], object]
Logs = dict[str, tuple[Builder, dict[str, object]]]
"""By the name that stands in the documentation's table: what builds the log, and the options it is read with."""


def motion(t: np.ndarray) -> np.ndarray:
    """The truth at times ``t`` (T,): (6, T)."""
    turns = 2 * np.pi * t
    return np.stack(
        [1.5 * np.sin(1.1 * turns), 0.7 * np.cos(0.6 * turns), G + 2 * np.sin(1.9 * turns),
         0.8 * np.sin(0.9 * turns), 0.5 * np.cos(1.3 * turns), 0.3 * np.sin(0.5 * turns)]
    )  # fmt: skip


def times(hz: float, seconds: float = SECONDS) -> np.ndarray:
    return np.arange(round(hz * seconds)) / hz


def number(value: object) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else f"{value:.6f}"


def log(header, columns, sep=",", decimal=".", before=(), after=(), end="\n", encoding="utf-8", trailing=""):
    """A text log: lines ``before``, the header, lines ``after`` it, then rows of ``columns``."""
    lines = [*before, *([header] if header is not None else []), *after]
    for row in zip(*columns, strict=True):
        cells = [cell if isinstance(cell, str) else number(cell).replace(".", decimal) for cell in row]
        lines.append(sep.join(cells) + trailing)
    return (end.join(lines) + end).encode(encoding)


def integers(values: np.ndarray) -> list[int]:
    return [int(value) for value in np.round(values)]


def nanoseconds(t: np.ndarray) -> list[int]:
    return [EPOCH_S * 10**9 + round(v * 1e9) for v in t]


def written(t: np.ndarray, form: str, cut: int | None = -3) -> list[str]:
    start = datetime.fromtimestamp(EPOCH_S, timezone.utc)
    return [(start + timedelta(seconds=float(v))).strftime(form)[:cut] for v in t]


def constant(value: object, t: np.ndarray) -> list[object]:
    return [value] * len(t)


def zip_of(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()
