"""Near-copies among the pairs or texts of a bridge are held out together, so that they do not flatter its report."""

import json
import warnings

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from bindplug import embedding
from bindplug.bridges import BridgeQuality, LinearBridge, VocabularyBridge, fit, load_bridge
from bindplug.bridges.learning import start_of
from bindplug.bridges.pairs import held_out_mask, near_copies
from bindplug.bridges.refining import refine
from bindplug.errors import CheckpointError
from bindplug.space import EmbeddingSpace
from bindplug.testing import FakeEncoder
from tests.planted_rows import clip_like, fitted, generator, rotation, spaces

pytestmark = pytest.mark.filterwarnings("ignore::bindplug.bridges.BridgeQuality")
HERE, THERE = EmbeddingSpace("test:here", 16), EmbeddingSpace("test:there", 12)


def noisy(rows, size, draw):
    """Unit rows beside others, at a cosine of about ``1 - size**2 / 2``."""
    noise = torch.randn(rows.shape, generator=draw).double() / rows.shape[1] ** 0.5
    return normalize(rows + size * noise, dim=1)


def planted(count, width=16, narrower=12, seed=3, noise=0.6):
    """Rows of the same meanings in two spaces, each with noise of its own."""
    draw = generator(seed)
    meaning = clip_like(count, width, seed, mean=1.0)
    return noisy(meaning, noise, draw), noisy(meaning @ rotation(width, narrower, 2), noise, draw)


def with_copies(sides, share, count, seed=0):
    """The first ``1 - share`` of ``count`` pairs, and near-copies of some of them, in both spaces."""
    draw = generator(seed)
    originals = round(count * (1 - share))
    copied = torch.randint(originals, (count - originals,), generator=draw)
    return [torch.cat([rows[:originals], noisy(rows[copied], 0.08, draw)]) for rows in sides]


def refined(x, y, bridge):
    keys = range(len(x))
    names = {"modality": "audio", "target_modality": "image"}
    return refine(x, y, start_of(bridge, "audio"), source_keys=keys, target_keys=keys, **names)


def test_near_copies_are_alike_in_both_spaces():
    x, y = planted(60)
    assert near_copies(x, y).tolist() == list(range(60))
    draw = generator(1)
    for size in (0.02, 0.1):
        twice = [torch.cat([rows, noisy(rows, size, draw)]) for rows in (x, y)]
        assert near_copies(*twice).tolist() == [*range(60), *range(60)]
    x_twice = torch.cat([x, noisy(x, 0.05, draw)])
    one_side = near_copies(x_twice, torch.cat([y, planted(60, seed=8)[1]])).tolist()
    assert one_side == list(range(120)), "alike in one space only"


def test_windows_of_a_recording_are_joined_through_those_between():
    x, y = planted(40)
    # Each window is like the next, the first and the last are not alike.
    steps = torch.linspace(0, 1, 8).double()[:, None]
    windows = [normalize((1 - steps) * rows[0] + steps * rows[1], dim=1) for rows in (x, y)]
    rows = [torch.cat([side[2:], window.flip(0)]) for side, window in zip((x, y), windows, strict=True)]
    assert float(windows[0][0] @ windows[0][-1]) < 0.9
    sets = near_copies(*rows).tolist()
    assert sets[:38] == list(range(38))
    assert set(sets[38:]) == {38}


def test_in_narrow_spaces_only_equal_pairs_are_copies():
    x, y = planted(60, width=11, narrower=11)
    draw = generator(1)
    close, same = ([torch.cat([rows, noisy(rows, size, draw)]) for rows in (x, y)] for size in (0.1, 0.0))
    assert near_copies(*close).tolist() == list(range(120))
    assert near_copies(*same).tolist() == [*range(60), *range(60)]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_near_copies_of_pairs_do_not_raise_what_is_measured(share):
    bridge = fitted(clip_like(200, 16, 1))
    x, y = planted(600)
    count = 160
    originals = round(count * (1 - share))
    alone = refined(x[:originals], y[:originals], bridge).report
    result = refined(*with_copies((x, y), share, count), bridge)
    report = result.report
    assert (alone.groups, report.groups) == (originals, originals)
    assert report.cosine < alone.cosine + 0.03
    assert report.top1 == pytest.approx(alone.top1, abs=0.03), "near-copies are one item to choose"
    assert str(report).splitlines()[0].startswith(f"audio -> image, 160 pairs in {originals} groups: ")
    # What is promised holds on fresh pairs.
    mean, gain = bridge.center_for("audio")
    if result.mean is not None:
        mean, gain = result.mean[0], bridge.centers["text"][1] / result.mean[1]
    weight = bridge.weight if result.adjustment is None else bridge.weight + result.adjustment
    aims = y[200:].float()
    mapped = (x[200:].float() - mean) * gain @ weight
    assert report.cosine < cosine_similarity(mapped, aims - aims.mean(0), dim=1).mean() + 0.05


@pytest.mark.parametrize(
    ("kind", "options"),
    [(LinearBridge, {}), (LinearBridge, {"method": "ridge"}), (VocabularyBridge, {})],
    ids=["procrustes", "ridge", "vocabulary"],
)
def test_near_copies_of_texts_do_not_raise_what_is_measured(kind, options):
    x, y = planted(600, width=32, narrower=24)
    options = options | spaces(32, 24)
    alone = kind.fit(x[:100], y[:100], **options).report
    report = kind.fit(*with_copies((x, y), 0.5, 200), **options).report
    assert (alone.groups, report.groups) == (100, 100)
    assert report.retrieval.centered_cosine < alone.retrieval.centered_cosine + 0.03
    assert report.retrieval.candidates == alone.retrieval.candidates == 10
    assert report.retrieval.top1 <= alone.retrieval.top1
    assert "200 pairs in 100 groups" in str(report)


def test_variants_stay_together_beside_near_copies():
    x, y = with_copies(planted(60), 0.5, 40)
    report = fitted_with(x, y, groups=[number // 4 if number < 20 else number for number in range(40)])
    assert report.groups == 5


def fitted_with(x, y, **options):
    return LinearBridge.fit(x, y, **spaces(x.shape[1], y.shape[1]), **options).report


def test_a_group_of_most_texts_stays_in_the_fit():
    ids = torch.tensor([0] * 80 + list(range(1, 41)))
    for seed in range(5):
        mask = held_out_mask(ids, torch.arange(120), 0.1, seed)
        assert mask.sum() == 12
        assert not mask[:80].any()
    two = torch.tensor([0] * 80 + [1] * 40)
    assert held_out_mask(two, torch.arange(120), 0.1, 0) is not None
    assert held_out_mask(two, 80 * two, 0.1, 0) is None, "two sets of near-copies are two items"


def test_texts_that_are_all_near_copies_leave_the_quality_unknown():
    draw = generator(2)
    sides = [noisy(rows.repeat(50, 1), 0.02, draw) for rows in planted(1)]
    other = planted(4, seed=9)
    x, y = (torch.cat(rows) for rows in zip(sides, other, strict=True))
    with pytest.warns(
        BridgeQuality, match=r"unknown: .* \(54 pairs in \d+ groups of variants and near-copies\)"
    ):
        assert fitted_with(x, y).retrieval is None


def test_groups_are_kept_on_the_card(tmp_path):
    pairs = [
        (embedding(a, HERE, modality="audio"), embedding(b, THERE, modality="image"))
        for a, b in zip(*with_copies(planted(60), 0.5, 80), strict=True)
    ]
    words = [f"word {index}" for index in range(120)]
    bridge = fit(FakeEncoder(space=HERE), FakeEncoder(space=THERE), words, pairs, progress=False)
    assert (bridge.report.groups, bridge.report.pairs[0].groups) == (120, 40)
    file = bridge.save(tmp_path / "b") / "card.json"
    assert load_bridge(tmp_path / "b").report == bridge.report
    card = json.loads(file.read_text())
    for part in (card["report"], card["report"]["pairs"][0]):
        part["groups"] = "many"
        file.write_text(json.dumps(card))
        with pytest.raises(CheckpointError, match="damaged"):
            load_bridge(tmp_path / "b")
        del part["groups"]  # as in earlier releases
    file.write_text(json.dumps(card))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)
        earlier = load_bridge(tmp_path / "b").report
    assert (earlier.groups, earlier.pairs[0].groups) == (None, None)
    assert "groups" not in str(earlier)
