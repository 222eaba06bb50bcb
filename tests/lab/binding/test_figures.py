"""Figures on held-out pairs, and the recipe that suits a number of pairs."""

from __future__ import annotations

from pathlib import Path

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
