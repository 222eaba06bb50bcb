"""Captions and what they match, of MSR-VTT, Clotho and AudioCaps."""

from __future__ import annotations

import shutil

import pytest

from bindplug.errors import InputError, OptionError
from bindplug_lab.datasets import MissingData
from bindplug_lab.tasks import load_task


@pytest.fixture
def copy(miniatures, tmp_path):
    """A function from a task's name to a copy of its miniature that a test may change."""
    return lambda name: shutil.copytree(miniatures(name), tmp_path / name)


def matched(items):
    """For each text on the left the names of its matches."""
    return {
        query.terms[0][1].source: [items.right_ids[place] for place in sorted(places)]
        for query, places in zip(items.left, items.matches, strict=True)
    }


def test_msrvtt_1k_a(miniatures, leaf):
    items = load_task("msrvtt").items(miniatures("msrvtt"))
    assert matched(items) == {
        "a person is connecting something to system": ["video9770"],
        "a little girl does gymnastics, alone": ["video9771"],
    }
    assert (items.left_name, items.right_name) == ("text", "video")
    assert leaf(items.right[0]).source.name == "video9770.mp4"


def test_msrvtt_senses_and_weights(miniatures):
    items = load_task("msrvtt_audio_video").items(miniatures("msrvtt"))
    assert [(weight, leaf.modality.value) for weight, leaf in items.right[0].terms] == [
        (0.95, "video"),
        (0.05, "audio"),
    ]
    assert items.right_name == "video+audio"
    published = {entry.direction for entry in load_task("msrvtt_audio_video").published}
    assert published == {f"{items.left_name}_to_{items.right_name}"}
    assert load_task("msrvtt_audio").items(miniatures("msrvtt")).right_name == "audio"


def test_msrvtt_whole_test_split(miniatures):
    items = load_task("msrvtt").with_options(split="test").items(miniatures("msrvtt"))
    assert items.right_ids == ("video9770", "video9771", "video7010")
    assert items.left_ids == ("video9770#1", "video9770#2", "video9771#1", "video7010#1")
    assert items.matches == (frozenset({0}), frozenset({0}), frozenset({1}), frozenset({2}))


@pytest.mark.parametrize(
    "weights", [{}, {"depth": 1.0}, {"video": 0}, {"video": -1.0}, {"video": True}, {"video": "1"}]
)
def test_msrvtt_weights_that_are_none(miniatures, weights):
    with pytest.raises(OptionError, match="weights"):
        load_task("msrvtt").with_options(weights=weights).items(miniatures("msrvtt"))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("MSRVTT_JSFUSION_test.csv", "video9771", "video9770", "line 3: 'video9770' twice"),
        ("MSRVTT_JSFUSION_test.csv", "a person is connecting something to system", "", "a blank 'sentence'"),
        (
            "MSRVTT_data.json",
            '"video_id": "video0", "sen_id"',
            '"video_id": "video1", "sen_id"',
            "'video1', which is no",
        ),
        ("MSRVTT_data.json", '"sentences"', '"captions"', "other fields"),
        (
            "MSRVTT_data.json",
            '"video_id": "video0", "category"',
            '"video_id": "video7010", "category"',
            "twice|no video",
        ),
        ("MSRVTT_data.json", '"info": {}, ', '"info": ', "damaged JSON"),
    ],
)
def test_msrvtt_damaged(copy, file, old, new, message):
    folder = copy("msrvtt")
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    split = "1k-A" if file.endswith("csv") else "test"
    with pytest.raises(InputError, match=message):
        load_task("msrvtt").with_options(split=split).items(folder)


def test_clotho_five_captions_a_sound(miniatures, leaf):
    items = load_task("clotho").items(miniatures("clotho"))
    assert items.right_ids == ("Santa Motor.wav", "rain on roof .wav")
    assert leaf(items.right[1]).source.name == "rain on roof.wav"
    assert len(items) == 10
    assert matched(items)["caption 3, of rain on roof."] == ["rain on roof .wav"]
    back = items.reverse()
    assert back.matches == (frozenset(range(5)), frozenset(range(5, 10)))
    assert (back.left_name, back.right_name) == ("audio", "text")


def test_clotho_damaged(copy):
    folder = copy("clotho")
    table = folder / "clotho_captions_evaluation.csv"
    text = table.read_text()
    table.write_text(text.replace("caption_5\n", "caption_6\n"))
    with pytest.raises(InputError, match="no column 'caption_5'"):
        load_task("clotho").items(folder)
    table.write_text(text.replace('"caption 2, of Santa Motor."', '""'))
    with pytest.raises(InputError, match="line 2: a blank 'caption_2'"):
        load_task("clotho").items(folder)
    with pytest.raises(OptionError, match="split = 'test'"):
        load_task("clotho").with_options(split="test").items(folder)


def test_audiocaps_captions_of_one_sound(miniatures):
    items = load_task("audiocaps").items(miniatures("audiocaps"))
    assert items.right_ids == ("7fmOlUlwoNg_0", "6BJ455B1aAs_0")
    assert matched(items) == {
        "Constant rattling noise and sharp vibrations": ["7fmOlUlwoNg_0"],
        "The rumbling of a bus": ["7fmOlUlwoNg_0"],
        "A rocket flies by, followed by a loud explosion": ["6BJ455B1aAs_0"],
    }


def test_audiocaps_missing_and_damaged(copy):
    folder = copy("audiocaps")
    (folder / "audio" / "test" / "6BJ455B1aAs_0.wav").unlink()
    with pytest.raises(MissingData, match=r"1 of 2 sounds missing or empty \(6BJ455B1aAs_0\)"):
        load_task("audiocaps").items(folder)
    items = load_task("audiocaps").items(folder, allow_missing=True)
    assert (items.missing_count, items.missing, len(items)) == (1, ("6BJ455B1aAs_0",), 2)
    table = folder / "dataset" / "test.csv"
    table.write_text(table.read_text().replace("103548", "103549"))
    with pytest.raises(InputError, match="audiocap_id 103549 twice"):
        load_task("audiocaps").items(folder)
