"""Every example does what its text promises."""

from __future__ import annotations

import re

import pytest

from bindplug_toyworld import Scene
from tests.examples.conftest import EXAMPLES, picture_at

TESTED_HERE = {
    "bind_a_new_sense", "bind_by_command", "classify_anything", "detect_by_sound", "detectron2_script",
    "embedding_arithmetic", "fit_a_bridge", "open_clip_before_after", "retrieval", "six_senses",
    "transformers_before_after",
}  # fmt: skip
TESTED_BESIDE = {"app", "clip_guidance", "morph", "sound_to_image"}


def test_every_example_is_tested_and_listed():
    found = {path.stem for path in EXAMPLES.glob("*.py")}
    assert found == TESTED_HERE | TESTED_BESIDE
    listed = re.findall(r"^\| \[([\w/]+)(?:\.py)?\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted([*found, "third_party_plugin/"])


def test_every_example_is_short():
    lengths = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert all(20 <= length <= 60 for length in lengths.values()), lengths


def test_no_two_examples_write_the_same_file():
    outputs = re.findall(
        r'"--output", default="([^"]+)"', "".join(p.read_text() for p in EXAMPLES.glob("*.py"))
    )
    assert len(outputs) >= 5
    assert len(set(outputs)) == len(outputs)


def table(lines: list[str]) -> dict[str, list[float]]:
    """Rows of numbers by their names."""
    rows = {}
    for line in lines:
        found = re.fullmatch(r"(\S.*?)((?:\s+\d\.\d+)+)", line)
        if found:
            rows[found[1]] = [float(number) for number in found[2].split()]
    return rows


def test_six_senses_agree(run):
    rows = table(run("six_senses.py"))
    assert list(rows) == ["image", "video", "audio", "depth", "thermal", "imu"]
    assert all(row[0] == max(row) and row[0] > 0.5 for row in rows.values())


def test_retrieval(run, tmp_path):
    lines = run("retrieval.py")
    first = {tuple(line.split()[:2]) for line in lines}
    assert {
        ("dog.png", "dog.wav"),
        ("cat.png", "cat.wav"),
        ("boat.wav", "boat.png"),
        ("fire.wav", "fire.png"),
    } < first
    assert lines[-1].split()[:4] == ["fire.wav", "&", "boat.png", "boat_and_fire.png"]
    words = lines.index("words > picture")
    assert lines[words + 1].split()[:3] == ["a", "dog", "dog.png"]
    assert lines[words + 3].split()[:3] == ["a", "dog", "dog.wav"]
    assert not list(tmp_path.iterdir())


def test_embedding_arithmetic(run, tmp_path):
    lines = run("embedding_arithmetic.py")
    assert lines[1].endswith("dog and bell")
    assert "number 1 of 45" in lines[4]
    assert picture_at(tmp_path / "embedding_arithmetic.png") == (672, 224)


def test_anything_is_classified(run):
    text = "\n".join(run("classify_anything.py"))
    for sensor in ("audio", "depth", "thermal", "imu"):
        assert sensor in text
    counts = re.findall(r"(\d+) of 8 right", text)
    assert len(counts) == 4
    assert all(int(count) >= 7 for count in counts)


def test_files_of_ones_own_are_classified(run, tmp_path):
    files = Scene(501, "eval", labels=["boat"], fps=1).write(tmp_path)
    lines = run(
        "classify_anything.py", "--audio", files["audio"], "--imu", files["imu"], "--labels", "boat,train"
    )
    assert lines[0] == "audio"
    assert lines[2] == "imu"
    assert all(re.search(r" boat \d+%, train \d+%$", line) for line in (lines[1], lines[3]))


def boxes(lines: list[str]) -> dict[str, list[float]]:
    """Of each prompt the box found."""
    found = [re.fullmatch(r"(.+): (\d\.\d+) at (.+)", line) for line in lines]
    return {match[1]: [float(edge) for edge in match[3].split(",")] for match in found if match}


def overlap(a: list[float], b: list[float]) -> float:
    """Intersection over union of two boxes."""
    width, height = (max(0.0, min(a[k + 2], b[k + 2]) - max(a[k], b[k])) for k in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


STREET = Scene(7, "eval", labels=("dog", "bell", "train", "frog"), canvas=(256, 256))


def test_a_sound_is_detected(run, tmp_path):
    found = boxes(run("detect_by_sound.py"))
    truth = dict(zip(STREET.labels, STREET.boxes.tolist(), strict=True))
    named = {"the bark": "dog", "the train's whistle": "train", "the word frog": "frog"}
    assert set(found) == set(named)
    assert all(overlap(found[name], truth[thing]) > 0.5 for name, thing in named.items())
    assert picture_at(tmp_path / "detect_by_sound.png") == (512, 512)


def test_a_detectron2_script_takes_a_sound(run, tmp_path):
    lines = run("detectron2_script.py")
    assert set(lines[0].removeprefix("its own classes: ").split(", ")) == set(STREET.labels)
    assert overlap(boxes(lines)["the sound"], STREET.boxes[0].tolist()) > 0.5
    assert "as before: 4 things" in lines[-1]
    assert picture_at(tmp_path / "detectron2_script.png") == (512, 512)


def test_an_open_clip_project(run):
    lines = run("open_clip_before_after.py")
    rows = table(lines)
    assert "equal: True" in lines
    assert rows["image, before"] == rows["image, after"]
    assert max(rows["image, after"]) == rows["image, after"][0]
    assert max(rows["sound, after"]) == rows["sound, after"][0]


def test_a_transformers_project(run):
    rows = table(run("transformers_before_after.py"))
    assert max(abs(a - b) for a, b in zip(rows["image, before"], rows["image, after"], strict=True)) < 2e-4
    assert max(rows["image, after"]) == rows["image, after"][0]
    assert max(rows["sound, after"]) == rows["sound, after"][0]


def test_a_bridge_carries_sounds(run, tmp_path):
    text = "\n".join(run("fit_a_bridge.py", "--texts", 600, "--output", "bridge"))
    nearest = dict(
        re.findall(r"the sound of (\w+) +is nearest to the other CLIP's '(?:a )?(?:person )?(\w+)'", text)
    )
    assert nearest == {name: name for name in ("dog", "train", "rain", "bell", "running")}
    assert int(re.search(r"and (\d+)% among ten", text)[1]) > 80
    assert {path.name for path in (tmp_path / "bridge").iterdir()} == {"bridge.safetensors", "card.json"}


def test_a_new_sense_is_bound(run):
    text = "\n".join(run("bind_a_new_sense.py", "--scenes", 160))
    assert int(re.search(r"named in words, which it never met: (\d+)%", text)[1]) > 80


@pytest.mark.slow
def test_a_new_sense_is_bound_by_the_command(run, tmp_path):
    text = "\n".join(run("bind_by_command.py", "--scenes", 120, "--epochs", 30))
    assert "108 pairs to train on, 12 held out" in text
    assert int(re.search(r"named in words, which it never met: (\d+)%", text)[1]) > 20
    assert (tmp_path / "sonar" / "my-sonar" / "config.json").is_file()
