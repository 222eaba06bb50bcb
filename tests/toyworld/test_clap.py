"""The bundled toy CLAP is transformers' own class, loads by name, and hears what its card says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import bindplug
import bindplug_toyworld
from bindplug import audio, text
from bindplug.bridges import fit
from bindplug_toyworld.evaluation import evaluation_scenes, query_of
from bindplug_toyworld.scene import Scene
from bindplug_toyworld.things import CLASSNAMES, NAMES

pytest.importorskip("transformers")
DIRECTORY = Path(bindplug_toyworld.__file__).parent / "weights" / "toy_clap"
CARD = json.loads((DIRECTORY / "card.json").read_text())


@pytest.fixture(scope="module")
def clap():
    return bindplug.load("toy_clap")


@pytest.fixture(scope="module")
def sounds():
    return [query_of(scene, "audio") for scene in evaluation_scenes(NAMES, 60, 940_000)]


def test_it_is_small_and_loads_by_name(clap):
    assert type(clap.network).__name__ == "ClapModel"
    assert clap.modalities == ("text", "audio")
    assert clap.embedding_space.name == "transformers:toy_clap"
    assert sum(file.stat().st_size for file in DIRECTORY.iterdir()) < 5_000_000


def test_it_hears_what_its_card_says(clap, sounds):
    prompts = [text(f"a photo of a {name}.") for name in CLASSNAMES]
    answers = clap.scores(sounds, prompts).argmax(1).numpy()
    share = float((answers == np.arange(60) % 20).mean())
    claimed = CARD["evaluation"]["audio -> text"]
    # four standard errors of 60 draws
    assert abs(share - claimed["value"]) <= 4 * (claimed["value"] * (1 - claimed["value"]) / 60) ** 0.5 + 0.02
    assert claimed["value"] > 0.8
    assert claimed["count"] >= 1000


def test_rows_are_the_networks_own(clap):
    transformers = pytest.importorskip("transformers")
    from transformers.utils import logging

    logging.disable_progress_bar()
    network = transformers.ClapModel.from_pretrained(DIRECTORY, dtype=torch.float32).eval()
    processor = transformers.AutoProcessor.from_pretrained(DIRECTORY)
    scene = Scene(5, "eval")
    features = processor.feature_extractor(scene.audio, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        expected = network.get_audio_features(**features).pooler_output
    row = clap.embed([audio(scene.audio, sample_rate=16_000)])
    assert torch.allclose(row, torch.nn.functional.normalize(expected, dim=1), atol=1e-5)


@pytest.mark.filterwarnings("ignore::bindplug.bridges.BridgeQuality")
def test_pairs_tell_it_where_pictures_lie(clap):
    captions = sorted({Scene(index, "train").caption for index in range(400)})
    scenes = [Scene(9_500_000 + index, "train") for index in range(80)]
    pairs = [(query_of(scene, "audio"), query_of(scene, "image")) for scene in scenes]
    bridge = fit(clap, "toy_foreign_clip", captions, pairs, method="ridge", strength=1.0, progress=False)
    (report,) = bridge.report.pairs
    assert report.pairs == 80
    assert report.recentered
    assert report.cosine_gain[1] > 0.0
