"""The examples that make pictures of sounds, on the bundled pipeline."""

from __future__ import annotations

import re

from tests.examples.conftest import picture_at


def test_sounds_become_pictures(run, tmp_path):
    lines = run("sound_to_image.py", "--steps", 12)
    pairs = re.findall(r"heard: (\S+) +shown: (.+) \d+%", "\n".join(lines))
    assert [heard for heard, _ in pairs] == ["train", "frog", "boat", "fire"]
    assert sum(heard == shown for heard, shown in pairs) >= 3
    assert picture_at(tmp_path / "sound_to_image.png") == (896, 224)


def test_a_morph_begins_and_ends_at_its_sounds(run, tmp_path):
    lines = run("morph.py", "--frames", 4, "--steps", 12)
    shown = lines[0].partition(": ")[2].split(", ")
    assert len(shown) == 4
    assert (shown[0], shown[-1]) == ("boat", "train")
    assert picture_at(tmp_path / "morph.png") == (640, 160)


def test_guidance_leads_towards_the_sound(run, tmp_path):
    (told, _) = run("clip_guidance.py", "--steps", 4, "--views", 2, "--strength", 0.4)
    unguided, guided = (float(number) for number in re.findall(r"guided (-?\d\.\d+)", told))
    assert guided > unguided + 0.02
    assert picture_at(tmp_path / "clip_guidance.png") == (448, 224)
