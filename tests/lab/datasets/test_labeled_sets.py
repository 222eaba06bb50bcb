"""Paths, labels and options of the data sets of labeled files, and annotations that are wrong."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from bindplug.errors import InputError, InputNote, MissingDependency, OptionError
from bindplug.inputs import DepthPreprocess
from bindplug_lab.datasets import MissingData
from bindplug_lab.datasets.nyud import CLASSES, OTHER_ROOMS
from bindplug_lab.datasets.sun_rgbd import SCENES
from bindplug_lab.tasks import load_task
from tests.lab.miniature import make_imagenet, miniature_task, write_picture, write_sound, write_text


def by_id(items):
    """Class names of each item by its id."""
    return {
        name: [items.class_names[place] for place in labels]
        for name, labels in zip(items.ids, items.labels, strict=True)
    }


@pytest.fixture
def copy(miniatures, tmp_path):
    """A function from a task's name to a copy of its miniature that a test may change."""
    return lambda name: shutil.copytree(miniatures(name), tmp_path / name)


def change(path, old, new):
    """Replace a text in a file, which must hold it."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_bytes(text.replace(old, new).encode())


@pytest.mark.parametrize("layout", ["folders", "kaggle", "devkit"])
def test_imagenet_in_three_layouts(tmp_path, layout):
    items = miniature_task("imagenet1k").items(make_imagenet(tmp_path, layout))
    assert len(items.class_names) == 1000
    labels = {name.removesuffix(".JPEG"): labels for name, labels in by_id(items).items()}
    assert labels == {
        "ILSVRC2012_val_00000001": ["tench"],
        "ILSVRC2012_val_00000002": ["goldfish"],
        "ILSVRC2012_val_00000003": ["tench"],
        "ILSVRC2012_val_00000004": [items.class_names[744]],
    }
    # two classes share a name in CLIP's list: results tell them apart, prompts have the name alone
    assert items.class_names[744] == "missile (n04008634)"
    assert items.synonyms[744] == ("missile",)


def test_imagenet_half_downloaded(tmp_path):
    folder = make_imagenet(tmp_path)
    with pytest.raises(MissingData, match="49,996 of 50,000 pictures missing or empty"):
        load_task("imagenet1k").items(folder)
    items = load_task("imagenet1k").items(folder, allow_missing=True)
    assert (len(items), items.missing_count) == (4, 49996)


def test_imagenet_labels_that_are_none(tmp_path):
    folder = make_imagenet(tmp_path, "kaggle")
    change(folder / "LOC_val_solution.csv", "n01443537", "n09999999")
    with pytest.raises(InputError, match=r"line 3: a label 'n09999999' that is no class.*1000 classes"):
        miniature_task("imagenet1k").items(folder)
    folder = make_imagenet(tmp_path / "kit", "devkit")
    change(
        folder / "ILSVRC2012_devkit_t12" / "data" / "ILSVRC2012_validation_ground_truth.txt", "1\n", "77\n"
    )
    with pytest.raises(InputError, match="'77'"):
        miniature_task("imagenet1k").items(folder)


def test_places365_names_and_labels(miniatures):
    items = miniature_task("places365").items(miniatures("places365"))
    assert items.class_names == ("airfield", "apartment building outdoor", "zen garden")
    assert by_id(items)["Places365_val_00000001.jpg"] == ["zen garden"]
    assert by_id(items)["Places365_val_00000003.jpg"] == ["apartment building outdoor"]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("places365_val.txt", "jpg 2", "jpg 365", "label 365"),
        ("places365_val.txt", "jpg 2", "jpg two", "a name, a blank and a number"),
        ("places365_val.txt", "00000002", "00000001", "ids twice"),
        ("categories_places365.txt", "outdoor 1", "outdoor 0", "label 0 twice"),
        ("categories_places365.txt", "/z/zen_garden 2\n", "", "2 classes; expected 3 classes"),
    ],
)
def test_places365_damaged(copy, file, old, new, message):
    folder = copy("places365")
    change(folder / file, old, new)
    with pytest.raises(InputError, match=message):
        miniature_task("places365").items(folder)


def test_kinetics_videos_with_and_without_folders_of_classes(miniatures, leaf):
    items = miniature_task("kinetics400").items(miniatures("kinetics400"))
    assert items.class_names == ("abseiling", "petting animal (not cat)")
    assert by_id(items)["-1_2abcDEF0_000007_000017"] == ["petting animal (not cat)"]
    place = items.ids.index("3caPS4FHFF8_000036_000046")
    assert leaf(items.queries[place]).source.parent.name == "abseiling"


def test_audioset_names_of_downloaders_and_several_labels(miniatures, leaf):
    items = miniature_task("audioset").items(miniatures("audioset"))
    assert by_id(items) == {
        "--4gqARaEJE_0": ["Dog"],
        "--BfvyPmVMo_20": ["Speech", "Male speech, man speaking"],
        "zzzzzzzzzz__30.5": ["Speech"],
    }
    assert items.is_multi_label
    np.testing.assert_array_equal(items.label_matrix, [[0, 0, 1], [1, 1, 0], [1, 0, 0]])
    with pytest.raises(InputError, match="several labels"):
        _ = items.label_array
    assert not leaf(items.queries[1]).options


def test_audioset_segments_of_whole_videos(copy, leaf):
    folder = copy("audioset")
    write_sound(folder / "eval_segments" / "--BfvyPmVMo.wav", seconds=31)
    items = miniature_task("audioset").with_options(cut=True).items(folder)
    assert dict(leaf(items.queries[1]).options) == {"start": 20.0, "end": 30.0}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"/m/0bt9lr"', '"/m/absent"', "line 4: a label '/m/absent' that is no class"),
        ("0.000, 10.000", "10.000, 0.000", "an end after the start"),
        ("0.000, 10.000", "x, 10.000", "start = 'x'"),
        ('"/m/0bt9lr"', '"/m/0bt9lr', "line 5: damaged CSV"),
        ('"/m/09x0r,/m/05zppz"', "/m/09x0r,/m/05zppz", r"line 5: 5 cells.*in quotes"),
        ("--BfvyPmVMo, 20.000, 30.000", "--4gqARaEJE, 0.000, 10.000", "ids twice"),
    ],
)
def test_audioset_damaged(copy, old, new, message):
    folder = copy("audioset")
    change(folder / "eval_segments.csv", old, new)
    with pytest.raises(InputError, match=message):
        miniature_task("audioset").items(folder)


def test_vggsound_splits_and_sound_tracks(miniatures, leaf):
    items = miniature_task("vggsound").items(miniatures("vggsound"))
    assert items.class_names == ("child singing", "people marching", "playing drums, loudly")
    assert by_id(items)["--56QUhyDQM_000185"] == ["playing drums, loudly"]
    assert "--0PQM4-hqg_000030" not in items.ids  # of the train split
    assert leaf(items.queries[items.ids.index("-0BIyqJj9ZU_000030")]).source.suffix == ".mp4"


def test_nyud_rooms_others_and_maps(miniatures, leaf):
    items = load_task("nyud").items(miniatures("nyud"))
    assert by_id(items) == {"0002": ["other"], "0003": ["home office"], "0004": ["bedroom"]}
    assert len(items.class_names) == 10
    others = items.synonyms[items.class_names.index("other")]
    assert len(others) == 18
    assert "study room" in others
    assert "home office" not in others
    map_of_room = leaf(items.queries[0])
    assert map_of_room.source.shape == (16, 20)  # (H, W), which MATLAB stores the other way around
    assert dict(map_of_room.options) == {"unit": "m"}
    assert map_of_room.source[0, 0] == 1.0
    assert map_of_room.source[-1, -1] == 3.0
    assert map_of_room.source[1, 0] < map_of_room.source[0, 1]
    picture = leaf(load_task("nyud").with_options(modality="image").items(miniatures("nyud")).queries[0])
    assert picture.source.shape == (16, 20, 3)


def test_nyud_other_rooms_of_the_task_are_those_of_the_reader():
    assert load_task("nyud").synonyms["other"] == tuple(room.replace("_", " ") for room in OTHER_ROOMS)
    assert len({*CLASSES, *OTHER_ROOMS}) == 28  # 27 types, and "other"
    assert len(SCENES) == 19


def test_nyud_damaged(copy, monkeypatch):
    folder = copy("nyud")
    data = (folder / "nyu_depth_v2_labeled.mat").read_bytes()
    (folder / "nyu_depth_v2_labeled.mat").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cannot be read.*Download it again"):
        load_task("nyud").items(folder)
    (folder / "nyu_depth_v2_labeled.mat").write_bytes(data)
    (folder / "splits.mat").write_bytes((folder / "splits.mat").read_bytes()[:150])
    with pytest.raises(InputError, match=r"splits.mat: a damaged MATLAB file"):
        load_task("nyud").items(folder)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingDependency, match=r'pip install "bindplug\[nyu\]"'):
        load_task("nyud").items(folder)


def test_sun_rgbd_cameras_and_scenes(miniatures, leaf):
    items = load_task("sun_rgbd").items(miniatures("sun_rgbd"))
    assert [items.class_names[labels[0]] for labels in items.labels] == [
        "bathroom",
        "office",
    ]  # "idk" is no class
    first, second = map(leaf, items.queries)
    assert dict(first.options) == {"preset": "sun_png", "focal": 518.857901, "baseline": 0.075}
    assert dict(second.options) == {"preset": "sun_png", "focal": 529.5, "baseline": 0.075}
    assert first.source.parent.name == "depth_bfx"
    assert DepthPreprocess().read(first.source, **first.options).focal_px == 518.857901
    train = load_task("sun_rgbd").with_options(split="train").items(miniatures("sun_rgbd"))
    assert dict(leaf(train.queries[0]).options) == {
        "preset": "sun_png",
        "focal": 691.584229,
        "baseline": 0.095,
    }


def test_sun_rgbd_also_from_inside_its_folder(miniatures):
    folder = miniatures("sun_rgbd")
    assert len(load_task("sun_rgbd").items(folder)) == 2
    assert len(load_task("sun_rgbd").items(folder.parent)) == 2  # the folder of all data


@pytest.mark.parametrize("focal", ["", "nan 0 0", "0 0 0", "focal"])
def test_sun_rgbd_damaged_cameras(copy, focal):
    folder = copy("sun_rgbd")
    (folder / "SUNRGBD" / "kv1" / "NYUdata" / "NYU0001" / "intrinsics.txt").write_text(focal)
    with pytest.raises(InputError, match="focal length" if focal else "1 of 2 scenes|1 of 3 scenes"):
        list(load_task("sun_rgbd").items(folder).queries)


def test_llvip_crops_of_persons_and_of_background(miniatures, leaf):
    items = load_task("llvip").items(miniatures("llvip"))
    assert items.class_names == ("person", "background")
    assert items.synonyms == (
        ("person", "man", "woman", "people"),
        ("street", "road", "car", "light", "tree"),
    )
    persons = [place for place, labels in enumerate(items.labels) if labels == (0,)]
    assert [items.ids[place] for place in persons] == [
        "190001_person_0",
        "190001_person_1",
        "190002_person_0",
    ]
    sizes = []
    for place in range(len(items)):
        crop = leaf(items.queries[place]).source
        sizes.append(crop.size)
        mean = np.asarray(crop).mean()
        assert mean > 180 if place in persons else mean < 60  # bright persons on dark ground
    assert sizes[persons[0]] == (12, 30)
    assert len(items) > len(persons)
    assert (
        leaf(load_task("llvip").with_options(modality="image").items(miniatures("llvip")).queries[0]).modality
        == "image"
    )


def test_llvip_counts_crops_of_missing_pictures(copy):
    folder = copy("llvip")
    whole = load_task("llvip").items(folder)
    (folder / "infrared" / "test" / "190002.jpg").unlink()
    part = load_task("llvip").items(folder, allow_missing=True)
    assert part.expected == len(whole)
    assert part.missing == ("190002",)
    assert part.ids == tuple(name for name in whole.ids if name.startswith("190001"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<name>person</name>", "<name>dog</name>", "an object 'dog'"),
        ("</annotation>", "", "damaged XML"),
        ("<xmin>20</xmin>", "<xmin>left</xmin>", "bndbox/xmin = 'left'"),
        ("<annotation>", "<!DOCTYPE x [<!ENTITY a 'b'>]><annotation>", "document type"),
        ("<width>64</width>", "", "size/width = None"),
    ],
)
def test_llvip_damaged_annotations(copy, old, new, message):
    folder = copy("llvip")
    change(folder / "Annotations" / "190002.xml", old, new)
    with pytest.raises(InputError, match=message):
        load_task("llvip").items(folder)


def test_llvip_boxes_without_pixels_are_noted(copy):
    folder = copy("llvip")
    change(folder / "Annotations" / "190001.xml", "<xmax>16</xmax>", "<xmax>4</xmax>")
    with pytest.warns(
        InputNote, match=r"190001.xml: a box without pixels left out, \(4, 5, 4, 35\) in 64 x 48"
    ):
        items = load_task("llvip").items(folder)
    assert [name for name in items.ids if "person" in name] == ["190001_person_0", "190002_person_0"]


def test_llvip_picture_smaller_than_its_annotation_says(copy):
    folder = copy("llvip")
    path = folder / "infrared" / "test" / "190001.jpg"
    write_picture(path, 20, (32, 24))
    with pytest.raises(InputError, match=r"190001.jpg: a picture of 32 x 24 pixels"):
        list(load_task("llvip").items(folder).queries)


def test_llvip_damaged_picture(copy):
    folder = copy("llvip")
    path = folder / "infrared" / "test" / "190001.jpg"
    path.write_bytes(path.read_bytes()[:200])
    items = load_task("llvip").items(folder)  # nothing is decoded yet
    with pytest.raises(InputError, match="190001"):
        _ = items.queries[0]


def test_ego4d_clips_of_five_seconds(miniatures, leaf):
    items = load_task("ego4d").items(miniatures("ego4d"))
    assert items.class_names == ("Biking", "Cooking", "Eating")  # golf was recorded without motion
    # the JSON says 60 s for the second video, of which 7 s are recorded; the third has two scenarios
    assert by_id(items) == {"aaaa-1_0": ["Cooking"], "aaaa-1_5": ["Cooking"], "bbbb-2_0": ["Biking"]}
    assert dict(leaf(items.queries[1]).options) == {"start": 5.0, "end": 10.0}


def test_ego4d_options(miniatures):
    task, root = load_task("ego4d"), miniatures("ego4d")
    assert task.with_options(several="any").items(root).labels[-1] == (1, 2)
    assert task.with_options(several="first").items(root).labels[-1] == (1,)
    assert task.with_options(split="val").items(root).ids == ("aaaa-1_0", "aaaa-1_5")
    assert task.with_options(clips_per_video=1).items(root).ids == ("aaaa-1_5", "bbbb-2_0")
    with pytest.raises(InputError, match="split_xyz"):
        task.with_options(split="val", benchmark="xyz").items(root)
    with pytest.raises(OptionError, match="several = 'all'"):
        task.with_options(several="all").items(root)
    with pytest.raises(InputError, match="3 classes; expected 108 classes"):
        task.with_options(classes=108).items(root)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"duration_sec": 12.5', '"duration_sec": "long"', "duration_sec = 'long'"),
        ('"video_uid": "aaaa-1"', '"video_uid": "../aaaa"', "video_uid"),
        ('"scenarios": ["Cooking"]', '"scenarios": "Cooking"', "scenarios"),
        ('"scenarios": ["Cooking"], ', "", "no 'scenarios'"),
        ('{"date"', "{date", "damaged JSON"),
    ],
)
def test_ego4d_damaged_json(copy, old, new, message):
    folder = copy("ego4d")
    change(folder / "ego4d.json", old, new)
    with pytest.raises(InputError, match=message):
        load_task("ego4d").items(folder)


def test_ego4d_recording_cut_off_in_the_middle_of_a_row(copy):
    path = copy("ego4d") / "v2" / "imu" / "aaaa-1.csv"
    text = path.read_text()
    path.write_text(text[: text.index("\n0,6300.000")] + "\n0,63")
    with pytest.warns(InputNote, match=r"aaaa-1 \(6 of 12 s\)"):
        items = load_task("ego4d").items(path.parents[2])
    assert "aaaa-1_0" in items.ids
    assert "aaaa-1_5" not in items.ids
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no times in milliseconds"):
        load_task("ego4d").items(path.parents[2])


def test_pictures_saved_as_web_pages_are_met_when_they_are_read(tmp_path):
    """A download that gave a login page in place of the list."""
    folder = tmp_path / "places365"
    write_text(folder / "categories_places365.txt", "<!DOCTYPE html><html>please log in</html>")
    write_text(folder / "places365_val.txt", "x.jpg 0")
    write_picture(folder / "val_256" / "x.jpg")
    with pytest.raises(InputError, match="a web page"):
        load_task("places365").items(folder)
