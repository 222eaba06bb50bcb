"""Comparing image encoders: measures, orders, parts that are kept, and the command."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from bindplug.errors import InputError, UnknownModel
from bindplug.imagebind import ImageBind, save_directory
from bindplug_lab.judging import Judgement, JudgeSettings, comparison, judge, towers, write_report
from bindplug_lab.judging.anchors import check_anchors
from bindplug_lab.judging.command import judge as judge_command
from bindplug_lab.judging.comparison import seeds_interval
from bindplug_lab.judging.measures import MEASURES, by_prototypes, prototypes
from bindplug_lab.judging.parts import Parts
from bindplug_lab.judging.report import findings, markdown
from bindplug_lab.judging.settings import SENSES
from bindplug_lab.judging.towers import bind_sense, build_tower, embed_sense
from bindplug_lab.statistics import Interval
from tests.small import SMALL

TINY = JudgeSettings(seeds=2, pairs=32, epochs=1, support=40, test=20, size="small", encoder_steps=2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(cache, tmp_path_factory):
    output = tmp_path_factory.mktemp("judge") / "out"
    return judge(["toy_clip", "random"], output, TINY, cache=cache, quiet=True), output


def separable(count=200, classes=4, width=8, noise=0.05):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes
    centers = torch.eye(width)[:classes]
    rows = centers[labels] + noise * torch.randn(count, width, generator=generator)
    return F.normalize(rows, dim=-1), labels


# -- measures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_every_measure_tells_separate_classes_apart_and_noise_not(measure):
    rows, labels = separable()
    assert measure(rows[100:], labels[100:], rows[:100], labels[:100]).mean() == 1.0
    noise = F.normalize(torch.randn(200, 8, generator=torch.Generator().manual_seed(1)), dim=-1)
    assert measure(noise[100:], labels[100:], noise[:100], labels[:100]).mean() < 0.5


def test_prototypes_are_the_normalized_means_of_classes():
    rows, labels = separable()
    expected = torch.stack([F.normalize(rows[labels == c].mean(0), dim=0) for c in range(4)])
    assert torch.allclose(prototypes(rows, labels), expected, atol=1e-6)
    right = by_prototypes(expected, torch.tensor([0, 1, 2, 0]), rows, labels)
    assert right.tolist() == [True, True, True, False]


def test_the_interval_is_the_wider_of_seeds_and_scenes():
    rng = np.random.default_rng(0)
    alike = np.tile(rng.random(100) < 0.5, (3, 1))
    scenes = seeds_interval(alike)  # equal seeds: only the scenes matter
    assert scenes.high - scenes.low > 0.1
    apart = np.stack([np.arange(1000) < 1000 * share for share in (0.1, 0.5, 0.9)])
    seeds = seeds_interval(apart)
    assert seeds.value == pytest.approx(0.5)
    assert (seeds.low, seeds.high) == (0.0, 1.0)  # Student's with two degrees of freedom, kept within 0 to 1


# -- orders ---------------------------------------------------------------------------------------------------------


def judgement(own, emergent):
    """A judgement of given accuracies, every interval one point to each side."""

    def interval(value):
        return Interval(value, value - 0.01, value + 0.01)

    return Judgement(
        TINY,
        {name: dict.fromkeys(MEASURES, interval(value)) for name, value in own.items()},
        {name: dict.fromkeys(SENSES, interval(value)) for name, value in emergent.items()},
        {name: {sense: [value] for sense in SENSES} for name, value in emergent.items()},
    )


def test_equal_orders_have_no_reversal():
    same = judgement({"a": 0.9, "b": 0.5, "c": 0.1}, {"a": 0.6, "b": 0.4, "c": 0.2})
    assert same.anchors == same.order("audio") == ["a", "b", "c"]
    assert same.reversals("audio") == []
    assert same.agreement("audio") == 1.0
    assert "as their own accuracy" in findings(same)[0]


def test_another_order_is_named_where_no_intervals_overlap():
    other = judgement({"a": 0.9, "b": 0.5, "c": 0.1}, {"a": 0.4, "b": 0.6, "c": 0.2})
    assert other.reversals("depth") == [("a", "b")]
    assert other.agreement("depth") == pytest.approx(1 / 3)
    assert "otherwise" in findings(other)[1]
    assert "b over a" in findings(other)[1]


@pytest.mark.parametrize(
    ("own", "emergent"),
    [({"a": 0.51, "b": 0.50}, {"a": 0.2, "b": 0.6}), ({"a": 0.9, "b": 0.5}, {"a": 0.50, "b": 0.51})],
    ids=["own accuracies overlap", "emergent ones overlap"],
)
def test_an_order_within_the_intervals_is_no_other_order(own, emergent):
    near = judgement(own, emergent)
    assert near.reversals("audio") == []
    assert "only within the intervals" in findings(near)[0]


# -- towers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sense", "shape"), [("audio", (1, 64, 102)), ("depth", (1, 96, 96))])
def test_towers_take_the_rendered_maps(sense, shape):
    tower = build_tower(sense, shape, embed_dim=12, seed=0)
    rows = embed_sense(tower, torch.randn(3, *shape).half())
    assert rows.shape == (3, 12)
    assert torch.allclose(rows.norm(dim=-1), torch.ones(3), atol=1e-5)


def test_binding_learns_the_anchors_classes():
    """Depth maps that differ by class are placed by the anchors' rows of the same class."""
    anchors, labels = separable(count=96)
    maps = torch.randn(96, 1, 96, 96, generator=torch.Generator().manual_seed(3)) * 0.3
    maps += torch.linspace(-2, 2, 4)[labels][:, None, None, None]
    settings = JudgeSettings(pairs=32, epochs=8, seeds=1)
    tower = bind_sense("depth", anchors, maps, settings, seed=0, quiet=True)
    assert by_prototypes(embed_sense(tower, maps), labels, anchors, labels).mean() > 0.5


# -- a comparison ---------------------------------------------------------------------------------------------------


def test_every_anchor_is_measured(finished):
    result, output = finished
    assert set(result.own) == {"toy_clip", "random"}
    for name in result.own:
        assert set(result.own[name]) == set(MEASURES)
        assert set(result.emergent[name]) == set(SENSES)
        assert len(result.by_seed[name]["audio"]) == 2
    paths = write_report(result, output)
    table = json.loads(paths["json"].read_text())
    assert table["anchors"]["random"]["emergent"]["depth"]["count"] == 2
    assert set(table["orders"]["audio"]) == {"toy_clip", "random"}
    assert paths["figure"].read_bytes().startswith(b"\x89PNG")
    assert markdown(result) == paths["table"].read_text()


def test_what_is_measured_is_not_measured_again(finished, cache, monkeypatch):
    result, output = finished
    monkeypatch.setattr(comparison, "_measure", None)
    again = judge(["random", "toy_clip"], output, TINY, cache=cache, quiet=True)
    assert again.own == result.own
    assert again.emergent == result.emergent


def test_a_run_that_ended_early_goes_on(finished, cache, tmp_path, monkeypatch):
    result, _ = finished
    measure, jobs = comparison._measure, []

    def fail_at_fourth(job):
        if len(jobs) == 3:
            raise KeyboardInterrupt
        jobs.append(job[1:])
        measure(job)

    monkeypatch.setattr(comparison, "_measure", fail_at_fourth)
    with pytest.raises(KeyboardInterrupt):
        judge(["toy_clip", "random"], tmp_path / "out", TINY, cache=cache, quiet=True)
    monkeypatch.setattr(comparison, "_measure", lambda job: (jobs.append(job[1:]), measure(job)))
    again = judge(["toy_clip", "random"], tmp_path / "out", TINY, cache=cache, quiet=True)
    assert len(jobs) == len(set(jobs)) == 2 + 2 * 2 * 2
    assert again.own == result.own
    assert again.emergent == result.emergent


@pytest.mark.parametrize("sense", SENSES)
def test_a_tower_that_was_cut_short_goes_on_to_the_same_answers(
    sense, cache, finished, tmp_path, monkeypatch
):
    """A binding that is killed in its second epoch goes on after its first, and answers as one without a break."""
    _, output = finished
    settings = replace(TINY, epochs=3)
    whole, broken = (Parts(tmp_path / name, cache, settings) for name in ("whole", "broken"))
    for parts in (whole, broken):
        parts.open()
        shutil.copytree(output / "parts", parts.output / "parts", ignore=shutil.ignore_patterns("*.npy"))
    whole.measure_binding("toy_clip", sense, 0, quiet=True)
    calls, bind = [], towers.bind_tower

    def count_calls(stop_after):
        def run(*arguments, augment, **options):
            def counted(batch, generator):
                if len(calls) == stop_after:
                    raise RuntimeError("killed")
                calls.append(len(batch))
                return augment(batch, generator)

            return bind(*arguments, augment=counted, **options)

        return run

    # an epoch is one step here, whose 32 recordings are augmented one by one
    monkeypatch.setattr(towers, "bind_tower", count_calls(32 + 8))
    with pytest.raises(RuntimeError, match="killed"):
        broken.measure_binding("toy_clip", sense, 0, quiet=True)
    assert not broken.has_binding("toy_clip", sense, 0)
    monkeypatch.setattr(towers, "bind_tower", count_calls(None))
    broken.measure_binding("toy_clip", sense, 0, quiet=True)
    assert len(calls) == 32 + 8 + 2 * 32
    assert np.array_equal(*(np.load(parts._binding("toy_clip", sense, 0)) for parts in (whole, broken)))
    assert not list(broken.output.rglob("*.checkpoints"))


def test_other_settings_need_another_output(finished, cache):
    _, output = finished
    with pytest.raises(InputError, match="pairs=32") as error:
        judge(
            ["random"], output, JudgeSettings(pairs=64, seeds=2, epochs=1, support=40, test=20, size="small")
        )
    assert "another --output" in error.value.remedy


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="other files"):
        judge(["random"], tmp_path, TINY, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_names_of_anchors_make_safe_directories(tmp_path):
    parts = Parts(tmp_path, tmp_path, TINY)
    names = ["open_clip:ViT-B-32:openai", "../up", "a/b", "a-b", "imagebind_tiny"]
    directories = {parts.directory(name) for name in names}
    assert len(directories) == len(names)
    assert all(path.parent == tmp_path / "parts" for path in directories)


# -- what is refused ------------------------------------------------------------------------------------------------


def test_unknown_anchors_are_named_before_anything_is_made(tmp_path):
    with pytest.raises(UnknownModel, match="'mae' is neither trained here"):
        judge(["random", "mae"], tmp_path / "out", TINY)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("anchors", "message"), [([], "none"), (["dino", "dino"], "twice")])
def test_lists_of_anchors_are_checked(anchors, message):
    with pytest.raises(InputError, match=message):
        check_anchors(anchors)


@pytest.mark.parametrize(
    "changes", [{"seeds": 0}, {"pairs": 3}, {"test": 1}, {"size": "huge"}, {"encoder_steps": 0}], ids=str
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(InputError, match=next(iter(changes))):
        JudgeSettings(**changes)


def test_no_two_parts_share_a_scene():
    specs = JudgeSettings().worlds()
    train = sorted((s.start, s.start + s.count) for s in specs.values() if s.split == "train")
    assert all(stop <= start for (_, stop), (start, _) in pairwise(train))
    assert [s.split for s in specs.values()].count("eval") == 1
    pictures = JudgeSettings().worlds(side=224)
    assert all(pictures[part].start == spec.start for part, spec in specs.items())


def test_a_model_of_bindplug_is_an_anchor_too(cache, tmp_path):
    name = str(save_directory(ImageBind(SMALL, {"image"}), tmp_path / "model"))
    result = judge([name], tmp_path / "out", TINY, cache=cache, quiet=True)
    assert set(result.emergent[name]) == set(SENSES)
    assert findings(result) == ["One anchor has no order: give several."]


# -- the command ----------------------------------------------------------------------------------------------------


def test_the_command_prints_and_writes(finished, cache):
    result, output = finished
    arguments = (
        f"--anchors toy_clip,random -o {output} --cache {cache} --seeds 2 --pairs 32 --epochs 1 --support 40 "
        "--test 20 --size small --encoder-steps 2 --quiet"
    )
    outcome = CliRunner().invoke(judge_command, arguments.split(), catch_exceptions=False)
    assert outcome.exit_code == 0
    assert "| random |" in outcome.output
    assert (output / "judge.png").is_file()
    as_json = CliRunner().invoke(judge_command, [*arguments.split(), "--json"], catch_exceptions=False)
    assert json.loads(as_json.stdout)["orders"]["own"] == result.anchors


@pytest.mark.slow
def test_several_processes_give_the_same_figures(finished, cache, tmp_path):
    result, _ = finished
    again = judge(["random"], tmp_path / "out", TINY, cache=cache, jobs=2, quiet=True)
    assert again.emergent["random"] == result.emergent["random"]
