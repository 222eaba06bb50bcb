"""Bridges refined with paired items: what they add, what they leave alone, and what is refused."""

import json
import warnings

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.nn.functional import normalize

from bindplug import audio, embedding, image, text
from bindplug.bridges import BridgeQuality, LinearBridge, PairsReport, fit, load_bridge
from bindplug.bridges.pair_files import read_pairs
from bindplug.bridges.refining import CANDIDATES, Start, refine
from bindplug.cli import bridge as command
from bindplug.encoder import SkippedInputs
from bindplug.errors import CheckpointError, InputError, SpaceMismatch, UnknownModel, WeightsNotFound
from bindplug.space import EmbeddingSpace
from bindplug.testing import FakeEncoder
from tests.planted_rows import clip_like, fitted, generator, rotation

pytestmark = pytest.mark.filterwarnings("ignore::bindplug.bridges.BridgeQuality")
HERE, THERE = EmbeddingSpace("test:here", 16), EmbeddingSpace("test:there", 12)
WORDS = [f"word {i}" for i in range(120)]


def planted(count, *, turn=0.0, noise=0.05, seed=3):
    """Sounds and pictures of the same meanings; ``turn`` mixes the sounds' axes, which text knows nothing of."""
    draw = generator(seed)
    meaning = torch.randn(count, 16, generator=draw).double() / 4
    other = rotation(16, 16, 9)
    sounds = meaning @ ((1 - turn) * torch.eye(16).double() + turn * other)
    sounds = (
        sounds + noise * torch.randn(count, 16, generator=draw).double() + 1.5 * normalize(other[0], dim=0)
    )
    pictures = meaning @ rotation(16, 12, 2) + 1.2 * normalize(other[1, :12], dim=0)
    pictures = pictures + noise * torch.randn(count, 12, generator=draw).double()
    return normalize(sounds, dim=1), normalize(pictures, dim=1)


def start_of(bridge):
    mean, gain = bridge.center_for("audio")
    target_mean = bridge.target_mean.double()
    spread = float((1 - target_mean.square().sum()).sqrt())
    return Start(bridge.weight.double(), mean.double(), gain, bridge.centers["text"][1], target_mean, spread)


def refined(x, y, bridge, **options):
    keys = range(len(x))
    options = {"source_keys": keys, "target_keys": keys} | options
    return refine(x, y, start_of(bridge), modality="audio", target_modality="image", **options)


@pytest.fixture(scope="module")
def bridge():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BridgeQuality)
        return fitted(clip_like(200, 16, 1))


def test_pairs_learn_what_text_does_not_know(bridge):
    x, y = planted(300, turn=0.7)
    result = refined(x[:200], y[:200], bridge)
    report = result.report
    assert report.recentered
    assert report.strength is not None
    assert report.cosine > report.text_cosine + 0.1
    assert report.cosine_gain[0] == pytest.approx(report.cosine - report.text_cosine)
    assert 0 < report.cosine_gain[1] < report.cosine_gain[0] < report.cosine_gain[2]
    # The promise made from the pairs holds on fresh ones.
    weight = bridge.weight + result.adjustment
    mean, spread = result.mean
    mapped = (x[200:].float() - mean) * bridge.centers["text"][1] / spread @ weight
    aims = y[200:].float() - y[200:].float().mean(0)
    fresh = torch.nn.functional.cosine_similarity(mapped, aims, dim=1).mean()
    assert report.cosine_gain[1] - 0.1 < fresh - report.text_cosine < report.cosine_gain[2] + 0.1


def test_pairs_that_say_nothing_leave_the_map_alone(bridge):
    draw = generator(8)
    x, y = (normalize(torch.randn(60, width, generator=draw).double(), dim=1) for width in (16, 12))
    report = refined(x, y, bridge).report
    low, high = report.cosine_gain[1:]
    assert low < 0.1
    assert high > -0.1
    assert report.strength is None or report.strength >= 10.0


def test_where_text_is_right_the_pairs_hardly_change_the_map(bridge):
    x, y = planted(200)
    result = refined(x, y, bridge)
    added = 0.0 if result.adjustment is None else float(result.adjustment.norm() / bridge.weight.norm())
    assert added < 0.6
    assert result.report.cosine >= result.report.text_cosine - 0.01


def test_pairs_that_share_an_item_are_held_out_together(bridge):
    """Noise that is repeated five times would be learned by heart if copies stood on both sides of a split."""
    draw = generator(4)
    x, y = (normalize(torch.randn(40, width, generator=draw).double(), dim=1) for width in (16, 12))
    x, y = x.repeat(5, 1), y.repeat(5, 1)
    keys = [index % 40 for index in range(200)]
    honest = refined(x, y, bridge, source_keys=keys, target_keys=keys).report
    assert honest.cosine_gain[1] < 0.15
    # Copies of a file, and an array that was loaded twice, have keys of their own, and equal rows.
    copies = refined(x + 1e-8, y, bridge).report
    assert copies.cosine == pytest.approx(honest.cosine, abs=1e-4)


def test_copies_of_sounds_or_of_pictures_alone_are_held_out_together(bridge):
    draw = generator(5)
    x, y = (normalize(torch.randn(100, width, generator=draw).double(), dim=1) for width in (16, 12))
    for first, second in ((x[:20].repeat(5, 1), y), (x, y[:20].repeat(5, 1))):
        keys = [index % 20 for index in range(100)]
        others = range(100)
        by_keys = refined(
            first,
            second,
            bridge,
            source_keys=keys if second is y else others,
            target_keys=others if second is y else keys,
        ).report
        assert refined(first, second, bridge).report == by_keys


@pytest.mark.parametrize("side", [0, 1])
def test_pairs_of_few_distinct_items_are_refused(bridge, side):
    rows = list(planted(60))
    rows[side] = rows[side][:1].repeat(60, 1)
    with pytest.raises(InputError, match=r"60 of audio and image with 1 distinct items.*at least 10"):
        refined(*rows, bridge)


def test_pairs_in_the_wrong_order_leave_the_map_alone(bridge):
    x, y = planted(300, turn=0.5)
    result = refined(x, y.roll(1, 0), bridge)
    assert (result.mean, result.adjustment) == (None, None)
    assert str(result.report).splitlines()[0].endswith("as text alone maps it")


def test_the_same_seed_gives_the_same_figures(bridge):
    x, y = planted(60, turn=0.5)
    first, second = (refined(x, y, bridge, seed=5) for _ in range(2))
    assert first.report == second.report
    assert torch.equal(first.adjustment, second.adjustment)


def test_the_texts_solution_comes_first_among_the_candidates():
    assert not CANDIDATES[0].recentered
    strengths = [candidate.strength for candidate in CANDIDATES]
    assert strengths == sorted(strengths, reverse=True)


def encoders(count=80, turn=0.6):
    """Two fake encoders, and paired vectors in their spaces; texts are turned alike."""
    x, y = planted(count, turn=turn)
    pairs = [
        (embedding(a, HERE, modality="audio"), embedding(b, THERE, modality="image"))
        for a, b in zip(x, y, strict=True)
    ]
    return FakeEncoder(space=HERE), FakeEncoder(space=THERE), pairs


def test_fit_refines_stores_and_reports(tmp_path):
    source, target, pairs = encoders()
    plain = fit(source, target, WORDS, progress=False)
    bridge = fit(source, target, WORDS, pairs, progress=False)
    (report,) = bridge.report.pairs
    assert (report.modality, report.target_modality, report.pairs, report.skipped) == (
        "audio",
        "image",
        80,
        (),
    )
    assert "audio" in bridge.modalities
    assert torch.equal(plain.weight, bridge.weight), "text is mapped as before"
    rows = source.embed([text("a"), text("b")])
    assert torch.equal(plain(rows), bridge(rows))
    sounds = source.embed([pair[0] for pair in pairs])
    mixed = bridge(torch.cat([rows, sounds]), modality=["text", "text", *["audio"] * 80])
    assert torch.allclose(mixed[:2], bridge(rows), atol=1e-6)
    assert torch.allclose(mixed[2:], bridge(sounds, "audio"), atol=1e-6)
    assert not torch.allclose(mixed[2:], plain(sounds, "audio"), atol=0.05)
    loaded = load_bridge(bridge.save(tmp_path / "bridge"))
    assert loaded.report == bridge.report
    assert torch.equal(loaded(sounds, "audio"), bridge(sounds, "audio"))
    assert loaded.provenance["pairs"] == ["pairs"]
    assert "audio -> image, 80 pairs: recentered" in str(bridge.report)
    again = fit(source, target, pairs=pairs, bridge=plain, progress=False)
    assert torch.allclose(again(sounds, "audio"), bridge(sounds, "audio"), atol=1e-5)
    assert plain.report.pairs == (), "the bridge that was refined is as it was"
    with pytest.raises(InputError, match="pairs of audio, with which the bridge was refined already"):
        fit(source, target, pairs=pairs, bridge=bridge, progress=False)


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"pairs": 49}, InputError, "49 pairs.*at least 50.*recenter"),
        ({"pairs": []}, InputError, "none"),
        ({"pairs": [audio("a.wav")]}, InputError, r"pairs\[0\]"),
        ({"pairs": None, "bridge": "somewhere"}, InputError, "no pairs"),
        ({"method": "vocabulary"}, InputError, "vocabulary"),
        ({"source": "no_such_model"}, UnknownModel, "no_such_model"),
        ({"source": 3}, InputError, "a int"),
        (
            {"source": FakeEncoder(("text", "image"), HERE)},
            InputError,
            "audio for the source, which embeds text, image",
        ),
        ({"target": FakeEncoder(("text",), THERE)}, InputError, "image for the target"),
        ({"pairs": "none.csv"}, WeightsNotFound, "no file of pairs"),
        ({"corpus": "none.txt"}, InputError, "none.txt"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change, kind, says):
    source, target, pairs = encoders(60)
    if isinstance(change.get("pairs"), int):
        change = {"pairs": pairs[: change["pairs"]]}
    arguments = {
        "source": source,
        "target": target,
        "corpus": WORDS,
        "pairs": pairs,
        "progress": False,
    } | change
    with pytest.raises(kind, match=says):
        fit(**arguments)


def test_nan_rows_and_bridges_of_other_weights_are_refused():
    source, target, pairs = encoders(60)
    other = FakeEncoder(space=EmbeddingSpace("test:here", 16, "bbbb"))
    bridge = fit(FakeEncoder(space=EmbeddingSpace("test:here", 16, "aaaa")), target, WORDS, progress=False)
    with pytest.raises(SpaceMismatch, match="weights"):
        fit(other, target, pairs=pairs, bridge=bridge)
    broken = FakeEncoder(space=HERE)
    broken.encode = lambda modality, x, normalize=False: torch.full_like(x, float("nan"))
    several = [(audio(f"{i}.wav"), pair[1]) for i, pair in enumerate(pairs)]
    with pytest.raises(InputError, match="NaN"):
        fit(broken, target, pairs=several, bridge=fit(source, target, WORDS, progress=False))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "an empty file"),
        ("audio,image\n", "no pairs"),
        ("sound,picture\na,b\n", "the columns sound,picture"),
        ("audio\na\n", "the columns audio"),
        ("audio,image,depth\na,b,c\n", "columns"),
        ("audio,image\na.wav,\n", "line 2"),
        ("audio,image\na.wav,b.png,c\n", "line 2"),
    ],
)
def test_files_without_pairs_are_refused(tmp_path, content, says):
    file = tmp_path / "pairs.csv"
    file.write_text(content)
    with pytest.raises(InputError, match=says):
        read_pairs(file, FakeEncoder(), FakeEncoder())


def test_a_file_of_pairs(tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text(
        '\ufeffText , AUDIO\n"a dog, barking",sounds/a.wav\n\na cat,/data/b.wav\n', encoding="utf-8"
    )
    listens, sees = FakeEncoder(("audio", "text")), FakeEncoder(("image", "text"))
    pairs = read_pairs(file, listens, sees)
    assert pairs.source == (audio(str(tmp_path / "sounds/a.wav")), audio("/data/b.wav"))
    assert pairs.target == (text("a dog, barking"), text("a cat"))
    assert (pairs.source_modality, pairs.target_modality, pairs.name) == ("audio", "text", "pairs.csv")


def test_the_command_line_refines_with_files_and_lists_what_it_skips(tmp_path, monkeypatch):
    from bindplug.cli.options import ModelChoice

    draw = np.random.default_rng(1)
    folder = tmp_path / "items"
    folder.mkdir()
    lines = ["audio,text"]
    for index in range(56):
        sound = folder / f"{index}.wav"
        if index != 7:
            sound.write_bytes(draw.bytes(8))
        lines.append(f"items/{index}.wav,word {index}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    (tmp_path / "words.txt").write_text("\n".join(WORDS))

    class Reads(FakeEncoder):
        """Refuses a sound that is not there."""

        def __init__(self, space):
            super().__init__(space=space)
            read = self.preprocess["audio"].read

            def checked(source, **options):
                if not (folder / str(source).rsplit("/", 1)[-1]).is_file():
                    raise InputError(str(source), found="no file", expected="a sound")
                return read(source, **options)

            self.preprocess["audio"].read = checked

    monkeypatch.setattr(ModelChoice, "load", lambda self, modalities=None: Reads(HERE))
    monkeypatch.setattr(command, "_target", lambda *args, **options: FakeEncoder(space=THERE))
    arguments = [
        "fit",
        "--target",
        "x",
        "--corpus",
        str(tmp_path / "words.txt"),
        "--pairs",
        str(tmp_path / "pairs.csv"),
    ]
    with pytest.warns(SkippedInputs, match=r"left out 1 of 56 pairs:\n  pair 8: .*7.wav"):
        ran = CliRunner().invoke(command.bridge, [*arguments, "-o", str(tmp_path / "b"), "--json", "--quiet"])
    assert ran.exit_code == 0, ran.output
    (report,) = json.loads(ran.stdout)["report"]["pairs"]
    assert report["pairs"] == 55
    assert len(report["skipped"]) == 1
    assert load_bridge(tmp_path / "b").report.pairs[0].skipped == tuple(report["skipped"])
    ran = CliRunner().invoke(
        command.bridge, ["fit", "--target", "x", "--bridge", "b", "-o", str(tmp_path / "c")]
    )
    assert ran.exit_code == 2
    assert "--pairs FILE" in ran.output


def test_a_damaged_report_is_refused(tmp_path):
    source, target, pairs = encoders()
    file = fit(source, target, WORDS, pairs, progress=False).save(tmp_path / "b") / "card.json"
    card = json.loads(file.read_text())
    for field, value in (("cosine_gain", [1.0]), ("top1", "high"), ("more", 1), ("pairs", float("nan"))):
        damaged = json.loads(json.dumps(card))
        damaged["report"]["pairs"][0][field] = value
        file.write_text(json.dumps(damaged))
        with pytest.raises(CheckpointError, match="damaged"):
            load_bridge(tmp_path / "b")
    del card["report"]["pairs"]
    file.write_text(json.dumps(card))
    assert load_bridge(tmp_path / "b").report.pairs == ()


def test_models_are_named_by_id(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text(
        "\n".join(f"a {noun}" for noun in ("dog", "cat", "car", "bell", "train", "bird", "cow", "bee"))
    )
    bridge = fit(
        "imagebind_tiny", "toy_foreign_clip", file, method="ridge", strength=1.0, held_out=0, progress=False
    )
    assert isinstance(bridge, LinearBridge)
    assert (bridge.source.name, bridge.target.name) == ("bindplug:toy_clip", "bindplug:toy_foreign_clip")
    assert bridge.source.fingerprint is not None
    assert PairsReport.__doc__
    assert image("a.png").modality is not None
