"""Charts of the benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.plot import Bar, draw_bars


def test_chart_shows_every_bar(tmp_path: Path) -> None:
    bars = [Bar("met", 4, 3, 5, 2, True), Bar("missed", 0.5, 0.4, 0.6, 2, False), Bar("free", 900, 800, 1000)]
    small, large = tmp_path / "new" / "one.png", tmp_path / "all.png"
    draw_bars(small, "One", bars[:1])
    draw_bars(large, "All", bars, unit="x", origin=1.0, footer="below")
    with Image.open(small) as one, Image.open(large) as all_:
        colors = {color for _, color in all_.convert("RGB").getcolors(1 << 20) or []}
        assert all_.height > one.height
        assert {(44, 140, 120), (214, 96, 28), (90, 120, 170)} <= colors


@pytest.mark.parametrize("bars", [[], [Bar("zero", 1, 0, 2)], [Bar("endless", 1, 1, float("inf"))]])
def test_what_cannot_be_drawn_is_refused(bars: list[Bar], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="positive finite"):
        draw_bars(tmp_path / "no.png", "", bars)
