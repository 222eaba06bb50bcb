"""A detector makes cut-offs of its own scores and detects by them."""

import json

import pytest
import torch
from click.testing import CliRunner

import bindplug
from bindplug import audio, text
from bindplug.cli.options import ModelChoice
from bindplug.errors import InputError
from bindplug_detic import Detic
from bindplug_detic.adapter import upgrade
from bindplug_detic.command import detect
from tests.detic.planted import PlantedEncoder, planted_detector, planted_picture

pytestmark = pytest.mark.filterwarnings("ignore::bindplug.bridges.BridgeQuality")
PROMPTS = [text("dog"), text("train"), audio("train.wav")]


@pytest.fixture(scope="module")
def detector():
    return upgrade(planted_detector(), PlantedEncoder())


def test_the_best_box_of_each_prompt_counts(detector):
    picture = planted_picture()
    scores, modalities = detector.match_scores(
        [text("dog"), text("bee"), audio("train.wav")], [picture, picture]
    )
    detections = detector(picture, [text("dog"), text("bee"), audio("train.wav")], threshold=0.02)
    best = torch.zeros(3)
    for label, score in zip(detections.label_indices, detections.scores, strict=True):
        best[label] = max(best[label], score)
    assert modalities == ["image", "image"]
    assert torch.equal(scores, best.expand(2, 3))
    assert scores[0, 1] == 0.0
    assert min(scores[0, 0], scores[0, 2]) > 0.5


def test_cutoffs_are_the_thresholds_of_their_modality(detector, tmp_path, monkeypatch):
    picture = planted_picture()
    limits = bindplug.cutoffs(detector, PROMPTS, [picture] * 3, fpr=0.4)
    assert {(pair.query_modality, pair.row_modality) for pair in limits.pairs} == {
        ("text", "image"),
        ("audio", "image"),
    }
    # The pictures hold what was called absent, so nothing scores above what it scores there.
    assert len(detector(picture, PROMPTS[:1] + PROMPTS[2:], threshold=limits)) == 0
    absent = bindplug.cutoffs(detector, [text("bee"), audio("bee.wav")], [picture] * 3, fpr=0.4)
    expected = detector(picture, PROMPTS, threshold=0.02)
    assert torch.equal(
        torch.as_tensor(detector(picture, PROMPTS, threshold=absent).scores), torch.as_tensor(expected.scores)
    )
    with pytest.raises(InputError, match="depth -> image"):
        detector(picture, [bindplug.depth("dog.png")], threshold=absent)
    of_cosines = bindplug.cutoffs(PlantedEncoder(), [text("bee")], [text("dog"), text("train")] * 2, fpr=0.4)
    with pytest.raises(InputError, match="'cosine'"):
        detector(picture, PROMPTS, threshold=of_cosines)

    monkeypatch.setattr(ModelChoice, "load", lambda self, modalities=None: PlantedEncoder())
    monkeypatch.setattr(Detic, "from_pretrained", lambda name, *, device: planted_detector())
    picture.save(tmp_path / "street.png")
    for name, count in (("strict", 0), ("loose", 1)):
        file = (limits if name == "strict" else absent).save(tmp_path / f"{name}.json")
        out = tmp_path / name
        words = [str(tmp_path / "street.png"), "--text", "dog", "--cutoffs", str(file), "-o", str(out)]
        ran = CliRunner().invoke(detect, words)
        assert ran.exit_code == 0, ran.output
        assert len(json.loads((out / "detections.json").read_text())["pictures"][0]["detections"]) == count
    ran = CliRunner().invoke(detect, [*words, "-t", "0.5"])
    assert ran.exit_code == 2
    assert "not both" in ran.output
