"""SUN RGB-D: pairs of picture and depth of four sensors; the 19 scenes with enough pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bindplug.errors import InputError
from bindplug.query import Query, depth, image
from bindplug_lab.datasets.annotations import read_text
from bindplug_lab.datasets.folder import DataFolder, is_file
from bindplug_lab.datasets.labels import ClassList, Entry, check_choice, labeled_items, spaced
from bindplug_lab.datasets.matlab import read_mat
from bindplug_lab.tasks.items import LabeledItems

__all__ = ["BASELINES_M", "SCENES", "read_sun_rgbd"]

SCENES = (
    "bathroom", "bedroom", "classroom", "computer_room", "conference_room", "corridor", "dining_area", "dining_room",
    "discussion_area", "furniture_store", "home_office", "kitchen", "lab", "lecture_theatre", "library", "living_room",
    "office", "rest_space", "study_space",
)  # fmt: skip
"""Source: SUN RGB-D, section 5.1: the scenes of more than 80 pictures."""
BASELINES_M = {"kv1": 0.075, "kv2": 0.075, "realsense": 0.095, "xtion": 0.095}
"""Of each sensor, in metres. Source: an author of ImageBind and Omnivore, in a public thread."""
SPLIT_FILE = "traintestSUNRGBD/allsplit.mat"


def read_sun_rgbd(
    folder: DataFolder, *, split: str = "test", modality: str = "depth", depth_folder: str = "depth_bfx"
) -> LabeledItems:
    """The depth maps, or pictures, of a split.

    Layout: ``SUNRGBD/<sensor>/.../<scene>/`` with ``image/``, ``depth/``, ``depth_bfx/``, ``intrinsics.txt`` and
    ``scene.txt``, beside ``SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat`` (alltrain and alltest: paths that end in
    those below ``SUNRGBD/``). Each map is read with its own focal length and its sensor's baseline, under the preset
    ``sun_png``. Scenes outside the 19 are no part of the task.

    Args:
        folder: the data set.
        split: ``"test"`` or ``"train"``.
        modality: ``"depth"`` or ``"image"``.
        depth_folder: ``"depth_bfx"``, whose holes are filled, or ``"depth"``.

    Raises:
        MissingData: the split or scenes are missing.
        InputError: annotations are damaged.
    """
    check_choice("split", split, ("test", "train"))
    check_choice("modality", modality, ("depth", "image"))
    check_choice("depth_folder", depth_folder, ("depth_bfx", "depth"))
    splits = folder.find(f"SUNRGBDtoolbox/{SPLIT_FILE}", SPLIT_FILE, "allsplit.mat", what="the split")
    top = folder.root if _has_sensors(folder.root) else folder.find("SUNRGBD/", what="the folder of scenes")
    cells = read_mat(splits, (f"all{split}",))[f"all{split}"]
    class_list = ClassList(SCENES, [spaced(name) for name in SCENES], "SUN RGB-D")
    entries = []
    if not isinstance(cells, list) or not all(isinstance(cell, str) for cell in cells):
        raise InputError(
            str(splits), found=f"all{split} that is no list of paths", expected="a cell array of paths"
        )
    for cell in cells:
        name = _relative(cell, str(splits))
        scene = top / name
        label = _scene_of(scene)
        if label is None:  # missing, so its class is unknown
            entries.append(Entry(name, None, (0,)))
        elif label in SCENES:
            path = _only_file(scene / ("image" if modality == "image" else depth_folder))
            present = path is not None and (modality == "image" or is_file(scene / "intrinsics.txt"))
            entries.append(Entry(name, path if present else None, (class_list.place(label, name),)))
    make = _picture if modality == "image" else partial(_depth, len(top.parts))
    return labeled_items(folder, entries, class_list, make, "scenes")


def _has_sensors(folder: Path) -> bool:
    """Whether a folder is ``SUNRGBD/`` itself."""
    return any((folder / sensor).is_dir() for sensor in BASELINES_M)


def _relative(path: str, source: str) -> str:
    """The part of a listed path that begins with the sensor's name."""
    parts = [part for part in path.replace("\\", "/").strip().split("/") if part not in ("", ".")]
    starts = [place for place, part in enumerate(parts) if part in BASELINES_M]
    if not starts or ".." in parts:
        found, expected = f"a path {path[:120]!r}", f"one with a sensor: {', '.join(BASELINES_M)}"
        raise InputError(source, found=found, expected=expected)
    return "/".join(parts[starts[0] :])


def _scene_of(scene: Path) -> str | None:
    path = scene / "scene.txt"
    return read_text(path).strip() if is_file(path) else None


def _only_file(folder: Path) -> Path | None:
    if not folder.is_dir():
        return None
    files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and is_file(path)]
    if len(files) > 1:
        names = ", ".join(path.name for path in files[:3])
        raise InputError(str(folder), found=f"{len(files)} files ({names})", expected="one")
    return files[0] if files else None


def _depth(depth_of_top: int, entry: Entry) -> Query:
    """A map with its own focal length, the first number of ``intrinsics.txt``."""
    assert entry.path is not None
    intrinsics = entry.path.parent.parent / "intrinsics.txt"
    words = read_text(intrinsics).split()
    try:
        focal = float(words[0])
    except ValueError:
        focal = 0.0
    if not 0 < focal < float("inf"):
        raise InputError(str(intrinsics), found=f"{words[0]!r} as focal length", expected="a positive number")
    sensor = entry.path.parts[depth_of_top]
    return depth(entry.path, preset="sun_png", focal=focal, baseline=BASELINES_M[sensor])


def _picture(entry: Entry) -> Query:
    return image(entry.path)
