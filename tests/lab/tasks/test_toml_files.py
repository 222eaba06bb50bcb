"""Tasks in TOML files: the bundled ones are whole, and a wrong one is named by file and key."""

from __future__ import annotations

import pytest

from bindplug.errors import InputError
from bindplug.templates import OPENAI_IMAGENET_TEMPLATES
from bindplug_lab.tasks import Task, list_tasks, load_task, load_tasks

GOOD = """
name = "mine"
title = "Mine"
protocol = "zero_shot"
modalities = ["audio"]
metrics = ["accuracy"]
templates = ["a sound of a {}."]

[data]
reader = "folder"
modality = "audio"

[synonyms]
person = ["person", "man"]

[[published]]
model = "somebody"
metric = "accuracy"
value = 12.5
source = "a paper"
"""

PAPER = {
    "imagenet1k": (77.7, 0.1),
    "places365": (45.4, 0.27),
    "kinetics400": (50.0, 0.25),
    "msrvtt": (36.1, 0.1),
    "nyud": (54.0, 10.0),
    "sun_rgbd": (35.1, 5.26),
    "audioset": (17.6, 0.62),
    "vggsound": (27.8, 0.32),
    "esc50": (66.9, 2.75),
    "llvip": (63.4, 50.0),
    "ego4d": (25.0, 0.9),
}
"""ImageBind's zero-shot figure and chance, from the paper's tables."""
RETRIEVAL = {
    "clotho": {"recall@1": 6.0, "recall@10": 28.4},
    "audiocaps": {"recall@1": 9.3, "recall@10": 42.3},
    "msrvtt_audio": {"recall@1": 6.8, "recall@5": 18.5, "recall@10": 27.2},
    "msrvtt_audio_video": {"recall@1": 36.8, "recall@5": 61.8, "recall@10": 70.0},
}


def write(tmp_path, text):
    """A TOML file."""
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode())
    return path


def test_a_task_of_ones_own(tmp_path):
    task = load_task(write(tmp_path, GOOD))
    assert task.name == "mine"
    assert task.options == {"modality": "audio"}
    assert task.templates == ("a sound of a {}.",)
    assert task.synonyms == {"person": ("person", "man")}
    assert task.published[0].value == 12.5
    assert load_task(task) is task


def test_byte_order_marks_and_windows_line_ends(tmp_path):
    text = ("\ufeff" + GOOD).replace("\n", "\r\n")
    assert load_task(write(tmp_path, text)) == load_task(write(tmp_path, GOOD))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Mine"', 'titel = "Mine"', r"an unknown key 'titel'.*Did you mean 'title'"),
        ('title = "Mine"', "", "no key 'title'"),
        ('title = "Mine"', 'title = " "', "title = ' '; expected a text"),
        ('name = "mine"', 'name = "my/name"', "name = 'my/name'; expected letters"),
        (
            '"zero_shot"',
            '"zeroshot"',
            r"protocol = 'zeroshot'; expected one of zero_shot.*Did you mean 'zero_shot'",
        ),
        ('["audio"]', '["sound"]', r"modalities = \['sound'\]; expected a list of image"),
        ('["audio"]', '"audio"', "modalities = 'audio'; expected a list"),
        ('["accuracy"]', '["acc"]', r"metrics = \['acc'\]; expected some of accuracy, accuracy@5"),
        ('["accuracy"]', '["accuracy", "accuracy"]', "each value once"),
        ('["accuracy"]', "[]", "not empty"),
        ('["a sound of a {}."]', '["a sound"]', "the template 'a sound'; expected {} once"),
        ('["a sound of a {}."]', '["{} and {}"]', "expected {} once"),
        ('["a sound of a {}."]', '["{0}"]', "expected {} once"),
        ('["a sound of a {}."]', '"openai"', "templates = 'openai'; expected one of openai_imagenet"),
        ('reader = "folder"', 'reader = "folders"', r"\[data\]: reader = 'folders'.*Did you mean 'folder'"),
        ('reader = "folder"', "", r"\[data\]: no key 'reader'"),
        ('modality = "audio"', "", r"\[data\]: no option 'modality'"),
        (
            'modality = "audio"',
            'modalty = "audio"',
            r"an option 'modalty' .*reader 'folder'.*Did you mean 'modality'",
        ),
        ('["person", "man"]', '"man"', "person = 'man'; expected a list"),
        ("value = 12.5", "value = 125", r"\[\[published\]\] 1: value = 125; expected a percentage"),
        ("value = 12.5", 'value = "x"', "a percentage"),
        ('metric = "accuracy"', 'metric = "mAP"', "metric = 'mAP'; expected one of accuracy"),
        ('source = "a paper"', "", r"\[\[published\]\] 1: no key 'source'"),
        ('title = "Mine"', 'title = "Mine"\nshots = [1]', "shots = .*expected the protocol 'few_shot'"),
        ('title = "Mine"', 'title = "Mine"\nsize = -1', "size = -1; expected a whole number"),
        ('title = "Mine"', 'title = "Mine', "damaged TOML"),
        (
            "[synonyms]",
            "[support]\nsplit = 'x'\n[synonyms]",
            "a table 'support' with the protocol 'zero_shot'",
        ),
        ('"zero_shot"', '"few_shot"', "no table 'support'"),
        ("[synonyms]", "[[synonyms]]", "expected a table"),
    ],
)
def test_files_that_are_wrong(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(InputError, match=message) as error:
        load_task(write(tmp_path, GOOD.replace(old, new, 1)))
    assert "mine.toml" in str(error.value)


@pytest.mark.parametrize("metrics", ['["recall@0"]', '["recall"]', '["accuracy"]'])
def test_metrics_of_retrieval(tmp_path, metrics):
    text = (
        GOOD.split("[synonyms]")[0]
        .replace('"zero_shot"', '"retrieval"')
        .replace('["accuracy"]', metrics)
        .replace('templates = ["a sound of a {}."]', "")
    )
    with pytest.raises(InputError, match="recall@1, recall@10"):
        load_task(write(tmp_path, text))


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_task(tmp_path / "absent.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(InputError, match="a folder"):
        load_task(tmp_path / "folder.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\x00")
    with pytest.raises(InputError, match="damaged TOML"):
        load_task(tmp_path / "binary.toml")


def test_names_and_groups():
    assert [task.name for task in load_tasks("esc50, audiocaps,esc50")] == ["esc50", "audiocaps"]
    with pytest.raises(InputError, match=r"no task of this name.*Did you mean 'esc50'"):
        load_task("esc5")
    with pytest.raises(InputError, match="none; expected at least one name"):
        load_tasks(" , ")


def test_two_tasks_of_one_name(tmp_path):
    path = write(tmp_path, GOOD.replace('"mine"', '"esc50"'))
    with pytest.raises(InputError, match="a name of its own"):
        load_tasks(["esc50", path])


def test_a_synonym_of_no_class(tmp_path):
    from tests.lab.miniature import write_sound

    write_sound(tmp_path / "data" / "persons" / "1.wav")
    with pytest.raises(InputError, match=r"'person', which is no class of the data.*Did you mean 'persons'"):
        load_task(write(tmp_path, GOOD)).items(tmp_path / "data")


def test_options_that_the_reader_lacks():
    with pytest.raises(InputError, match=r"an option 'fold'.*Did you mean 'folds'"):
        load_task("esc50").with_options(fold=[1])
    with pytest.raises(InputError, match=r"no folder of data; expected the folder of ESC-50"):
        load_task("esc50").items()


@pytest.mark.parametrize("task", list_tasks(), ids=lambda task: task.name)
def test_bundled_tasks_are_whole(task):
    assert isinstance(task, Task)
    assert task.source.endswith(f"{task.name}.toml")
    assert all(entry.source for entry in task.published)
    if task.needs_data:
        assert task.url.startswith(("https://", "http://"))
        assert task.terms
        assert task.citation
        assert task.size > 0
        assert len(task.layout.splitlines()) > 1
        assert task.folder


@pytest.mark.parametrize("name", PAPER)
def test_figures_of_the_paper(name):
    task = load_task(name)
    figures = {entry.model: entry.value for entry in task.published if entry.metric == task.metrics[0]}
    assert (figures["imagebind_huge"], figures["chance"]) == PAPER[name]
    if "text" not in task.modalities:
        assert task.templates == OPENAI_IMAGENET_TEMPLATES


@pytest.mark.parametrize("name", RETRIEVAL)
def test_retrieval_figures_of_the_paper(name):
    figures = {e.metric: e.value for e in load_task(name).published if e.model == "imagebind_huge"}
    assert figures == RETRIEVAL[name]
