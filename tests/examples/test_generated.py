"""The examples that make pictures of sounds, on the bundled pipeline."""

from __future__ import annotations

import re

import pytest
import torch

import bindplug
from bindplug_toyworld.recipes.generator_pipeline import assemble, write_pipeline
from bindplug_toyworld.recipes.generator_size import SMOKE
from bindplug_toyworld.recipes.generator_unet import Conditioning, build_unet
from bindplug_toyworld.recipes.generator_vae import build_vae
from tests.examples.conftest import picture_at

BUNDLED = "toy_unclip"
TRAINED = BUNDLED in {card.name for card in bindplug.list_models("generator")}


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory):
    """The bundled pipeline or, where it does not ship, an untrained one of its shape."""
    if TRAINED:
        return BUNDLED
    torch.manual_seed(0)
    encoder = bindplug.load("imagebind_tiny", modalities={"image"})
    width = encoder.embedding_space.width
    conditioning = Conditioning.measured(torch.nn.functional.normalize(torch.randn(50, width)))
    pipe = assemble(build_vae(SMOKE), build_unet(SMOKE, width), conditioning, encoder)
    return write_pipeline(pipe, tmp_path_factory.mktemp("generator") / BUNDLED)


def test_sounds_become_pictures(run, tmp_path, pipeline):
    lines = run("sound_to_image.py", "--pipeline", pipeline, "--steps", 12 if TRAINED else 2)
    pairs = re.findall(r"heard: (\S+) +shown: (.+) \d+%", "\n".join(lines))
    assert [heard for heard, _ in pairs] == ["train", "frog", "boat", "fire"]
    if TRAINED:
        assert sum(heard == shown for heard, shown in pairs) >= 3
    assert picture_at(tmp_path / "sound_to_image.png") == (896, 224)


def test_a_morph_begins_and_ends_at_its_sounds(run, tmp_path, pipeline):
    lines = run("morph.py", "--pipeline", pipeline, "--frames", 4, "--steps", 12 if TRAINED else 2)
    shown = lines[0].partition(": ")[2].split(", ")
    assert len(shown) == 4
    if TRAINED:
        assert (shown[0], shown[-1]) == ("boat", "train")
    assert picture_at(tmp_path / "morph.png") == (640, 160)


def test_guidance_leads_towards_the_sound(run, tmp_path, pipeline):
    (told, _) = run("clip_guidance.py", "--pipeline", pipeline, "--steps", 4, "--views", 2, "--strength", 0.4)
    unguided, guided = (float(number) for number in re.findall(r"guided (-?\d\.\d+)", told))
    assert guided > unguided + 0.02
    assert picture_at(tmp_path / "clip_guidance.png") == (448, 224)
