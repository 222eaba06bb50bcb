"""Detections for prompts that mean nothing are counted picture by picture."""

from __future__ import annotations

import json
from importlib.resources import files
from types import SimpleNamespace

from recipes.detection_evaluation import format_meaningless_prompts
from recipes.meaningless_prompts import measure_meaningless_prompts


class Every:
    """Finds something in every second picture, on one route, for silence alone."""

    def __init__(self) -> None:
        self.calls = 0

    def prepare(self, queries, route):
        return queries[0], route

    def __call__(self, picture, prepared, *, threshold, with_masks):
        self.calls += 1
        query, route = prepared
        is_silence = "audio" in repr(query) and not query.terms[0][1].source.any()
        scores = [0.9] if route == "linear" and is_silence and self.calls % 2 else []
        return SimpleNamespace(scores=scores)


def test_rates_are_shares_of_pictures():
    measured = measure_meaningless_prompts(Every(), ["linear", "vocabulary"], scenes=4)
    assert measured["linear"].pop("silence") == 0.5
    assert set(measured["linear"].values()) == {0.0}
    assert set(measured["vocabulary"].values()) == {0.0}


def test_the_table_has_a_row_a_route():
    table = format_meaningless_prompts({"linear": {"silence": 0.23, "a zebra": 0.0}}).splitlines()
    assert table == ["| route | silence | a zebra |", "|---|---|---|", "| linear | 23 % | 0 % |"]


def test_the_card_tells_them():
    directory = files("bindplug_toyworld") / "weights" / "toy_detic"
    card = json.loads((directory / "card.json").read_text())["meaningless_prompts"]
    readme = (directory / "README.md").read_text()
    assert format_meaningless_prompts(card["routes"]) in readme
    assert max(card["routes"]["vocabulary"].values()) <= 0.02
    assert "classification" in readme
