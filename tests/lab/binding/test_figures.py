"""Figures on held-out pairs, and the recipe that suits a number of pairs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch


def test_retrieval_figures_share_ties_and_have_intervals():
    from bindplug_lab.binding.figures import recall_at, wilson

    cosines = torch.tensor([[0.9, 0.1, 0.2], [0.5, 0.5, 0.1], [0.3, 0.2, 0.1]])
    own = torch.eye(3, dtype=torch.bool)
    first = recall_at(cosines, own, 1)
    assert first.share == pytest.approx((1 + 0.5 + 0) / 3)
    assert first.chance == pytest.approx(1 / 3)
    assert recall_at(cosines, own, 3).share == 1
    several = torch.tensor([[True, True, False]] * 3)  # a picture with two samples
    assert recall_at(cosines, several, 1).share == 1
    assert recall_at(cosines, several, 1).chance == pytest.approx(2 / 3)
    assert recall_at(cosines, several, 2).chance == pytest.approx(1)
    # Source: Brown, Cai, DasGupta (2001), Interval Estimation for a Binomial Proportion: 10 of 20
    assert wilson(10, 20) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert wilson(0, 10)[0] == 0


def test_figures_that_cannot_be_told_from_chance_say_so(capsys):
    from bindplug_lab.binding.figures import CHANCE_NOTE, HeldOutFigures, recall_at
    from bindplug_lab.binding.report import report_card

    right = torch.eye(30, dtype=torch.bool)
    for cosines, is_chance in ((right.float(), False), (torch.zeros(30, 30), True)):
        recalls = [recall_at(cosines, right, k) for k in (1, 5)]
        figures = HeldOutFigures(30, recalls, recalls, 1.0)
        assert figures.is_chance == is_chance
        training = {"steps": 1, "seconds": 1.0, "losses": [1.0]}
        card = {"sense": "audio", "training": training, "held_out": figures.to_dict(), "license_note": "free"}
        lines: list[str] = []
        report_card(card, SimpleNamespace(output=Path("my-ear")), lines.append)
        assert any(CHANCE_NOTE in line for line in lines) == is_chance


def test_the_recipe_suits_the_number_of_pairs():
    from bindplug_lab.binding.settings import BindSettings, choose_recipe

    settings = BindSettings("pairs", "audio", Path("out"), "imagebind_huge")
    recipe, line, notes = choose_recipe(settings, 30)
    assert (recipe.batch_size, recipe.epochs) == (30, 100)
    assert "small" in line
    assert "do not fill a batch of 64" in notes[0]
    assert choose_recipe(settings, 6400)[0].epochs == 20
    recipe, line, notes = choose_recipe(settings, 50_000)
    assert (recipe.batch_size, recipe.epochs, notes) == (2048, 64, [])
    assert "published" in line
