"""Outlines of drawn things, as data: ``outlines.json`` holds them by thing and by part."""

from __future__ import annotations

import json
from importlib.resources import files

from bindplug_toyworld.looks.shapes import Path


def _read() -> dict[str, dict[str, Path]]:
    things = json.loads(
        files("bindplug_toyworld.looks").joinpath("outlines.json").read_text(encoding="utf-8")
    )
    return {
        thing: {part: [(float(x), float(y)) for x, y in points] for part, points in parts.items()}
        for thing, parts in things.items()
    }


OUTLINES = _read()
"""For each thing and part the points of its outline, (x, y) with y downwards; a thing fills [-1, 1]."""
