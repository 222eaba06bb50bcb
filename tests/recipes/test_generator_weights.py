"""The shipped generator keeps its card's word."""

from __future__ import annotations

import re
from importlib.resources import files

import numpy as np
import pytest

pytest.importorskip("diffusers")

import bindplug
from bindplug_diffusers import load_pipeline
from recipes.card import interval
from recipes.generation_evaluation import (
    BLENDS,
    MODALITIES,
    THRESHOLD_AUDIO,
    Judge,
    generate_all,
    judge_pictures,
    sensor_queries,
)
from tests.toyworld.shipped import evaluation_of

IN_CI = 40


@pytest.fixture(scope="module")
def told():
    return evaluation_of("toy_unclip")


@pytest.fixture(scope="module")
def pipe():
    pipe, _ = load_pipeline("toy_unclip", "cpu", None)
    pipe.set_progress_bar_config(disable=True)
    return bindplug.upgrade(pipe, bindplug.load("imagebind_tiny"))


def test_pictures_show_what_was_heard(told):
    for method in ("recentered", "prototypes"):
        heard = told[f"audio, {method}"]
        assert heard["count"] >= 500
        assert heard["value"] >= THRESHOLD_AUDIO


def test_the_readme_leads_with_the_conditioning_alone(told):
    """With prototypes the query selects: leaving it out is as good, and the card says so."""
    readme = (files("bindplug_toyworld") / "weights" / "toy_unclip" / "README.md").read_text()
    bold = re.search(r"\*\*(.*?) of its pictures", readme)
    low, high = interval(told["audio, recentered"]["value"], 500)
    assert bold is not None
    assert (
        bold[1] == f"{100 * told['audio, recentered']['value']:.1f} % ({100 * low:.0f} to {100 * high:.0f})"
    )
    assert told["audio, prototypes alone"]["value"] >= told["audio, prototypes"]["value"] - 0.02


def test_intervals_hold_the_fraction_and_shrink():
    assert interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert interval(1.0, 500)[1] == pytest.approx(1.0)
    assert interval(0.9, 500)[0] > interval(0.9, 120)[0]


def test_every_modality_and_blend_is_told(told):
    for kind in (*MODALITIES, *(" + ".join(pair) for pair in BLENDS)):
        by_default, as_they_are = told[f"{kind}, prototypes"], told[f"{kind}, as they are"]
        assert by_default["value"] > 5 * by_default["chance"]
        assert by_default["value"] >= as_they_are["value"] - 0.05  # the default helps, or does little harm


def test_the_weights_are_as_good_as_their_card_says(told, pipe):
    query_set = sensor_queries("audio", IN_CI)
    judge = Judge(bindplug.load("toy_foreign_clip"))
    measured = judge_pictures(judge, query_set, generate_all(pipe, query_set, quiet=True), "prototypes")
    assert measured.value == pytest.approx(told["audio, prototypes"]["value"], abs=0.15)


def test_prototypes_lead_by_default(pipe):
    """What the card measured as "prototypes" is what a call does."""
    led = pipe.embedder.prototypes
    assert len(led) == 1000
    query = bindplug.text("a fire")
    by_default, unled = (
        pipe.conditioning(query, **how)["image_embeds"] for how in ({}, {"prototypes": False})
    )
    assert by_default.isfinite().all()
    assert not by_default.allclose(unled)


def test_another_seed_paints_another_picture_of_the_same(pipe):
    query = bindplug.text("a fire")
    first, again, other = (np.asarray(pipe(query, seed=seed).images[0], float) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.abs(first - other).mean() > 2
