"""What holds for every task on its miniature."""

from __future__ import annotations

import pickle
import shutil

import pytest

import bindplug
from bindplug_lab.datasets import MissingData
from bindplug_lab.datasets.folder import layout_paths, walk
from bindplug_lab.tasks import PROTOCOLS, FewShotItems, LabeledItems, PairedItems, list_tasks, load_task
from tests.lab.miniature import MAKERS, miniature_task

MEDIA = (".wav", ".mp4", ".jpg", ".jpeg", ".png")
NAMES = sorted(task.name for task in list_tasks() if task.needs_data)


def test_every_task_has_a_miniature():
    assert sorted(MAKERS) == NAMES
    assert len(NAMES) >= 17


def sides(items):
    """Queries of the items, all sides."""
    if isinstance(items, FewShotItems):
        return [items.support.queries, items.test.queries]
    return [items.left, items.right] if isinstance(items, PairedItems) else [items.queries]


@pytest.mark.parametrize("name", NAMES)
def test_items_are_of_the_protocol_and_of_the_modalities(miniatures, name):
    task = miniature_task(name)
    items = task.items(miniatures(name))
    assert isinstance(items, PROTOCOLS[task.protocol])
    assert len(items) > 0
    assert items.missing_count == 0
    modalities = {
        leaf.modality.value for queries in sides(items) for query in queries for _, leaf in query.terms
    }
    assert modalities == set(task.modalities)


@pytest.mark.parametrize("name", NAMES)
def test_items_are_the_same_in_every_run_and_travel_to_other_processes(miniatures, name):
    task = miniature_task(name)
    items, again = (task.items(miniatures(name)) for _ in range(2))
    copied = pickle.loads(pickle.dumps(items))
    if isinstance(items, LabeledItems):
        assert items.ids == again.ids == copied.ids
        assert items.labels == again.labels == copied.labels
    for queries, others in zip(sides(items), sides(copied), strict=True):
        assert len(queries) == len(others)
        assert [leaf.modality for _, leaf in queries[0].terms] == [
            leaf.modality for _, leaf in others[0].terms
        ]


@pytest.mark.parametrize(
    "name", sorted(set(NAMES) - {"msrvtt_audio", "msrvtt_audio_video", "esc50_few_shot"})
)
def test_a_missing_file_is_an_error_or_counted(miniatures, tmp_path, name):
    task = miniature_task(name)
    root = shutil.copytree(miniatures(name), tmp_path / "copy")
    media = [path for path in walk(root) if path.suffix.lower() in MEDIA or path.parent.name == "imu"]
    if not media:  # one file holds everything
        assert name == "nyud"
        return
    used = {str(leaf.source) for queries in sides(task.items(root)) for q in queries for _, leaf in q.terms}
    path = next((path for path in media if str(path) in used), media[0])
    path.unlink()
    with pytest.raises(MissingData, match=r"1 of \d+|2 of \d+|3 of \d+") as error:
        task.items(root)
    assert task.url in str(error.value)
    assert task.terms.rstrip(".") in str(error.value)
    assert "--allow-missing" in str(error.value)
    if name == "sun_rgbd_few_shot":  # of its one scene in the support none is left
        return
    items = task.items(root, allow_missing=True)
    assert items.missing_count >= 1
    assert str(path) not in {
        str(leaf.source) for queries in sides(items) for q in queries for _, leaf in q.terms
    }


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_says_where_to_get_the_data(tmp_path, name):
    task = miniature_task(name)
    with pytest.raises(MissingData) as error:
        task.items(tmp_path, allow_missing=True)
    assert task.url in str(error.value)
    paths = layout_paths(task.layout)
    assert len(paths) >= 2
    assert all(path in str(error.value) for path in paths)
    assert "\n" not in str(error.value)


def test_layouts_as_paths():
    assert layout_paths(load_task("sun_rgbd").layout) == [
        "sun_rgbd/SUNRGBD/kv1/NYUdata/NYU0001/image/NYU0001.jpg",
        "sun_rgbd/SUNRGBD/kv1/NYUdata/NYU0001/depth_bfx/NYU0001.png",
        "sun_rgbd/SUNRGBD/kv1/NYUdata/NYU0001/intrinsics.txt",
        "sun_rgbd/SUNRGBD/kv1/NYUdata/NYU0001/scene.txt",
        "sun_rgbd/SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat",
    ]


@pytest.mark.parametrize("name", ["audioset", "imagenet1k", "kinetics400", "places365", "vggsound"])
def test_fewer_classes_or_files_than_the_real_set_are_refused(miniatures, name):
    with pytest.raises(bindplug.BindplugError, match=r"expected (all )?(50,000|\d+ classes)"):
        load_task(name).items(miniatures(name))


@pytest.mark.filterwarnings("ignore::bindplug.errors.UnknownWords")
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"esc50_few_shot", "sun_rgbd_few_shot"}))
def test_our_readers_read_every_item(miniatures, name):
    model = bindplug.load("imagebind_tiny")
    task = miniature_task(name)
    items = task.items(miniatures(name))
    for queries in sides(items):
        rows = model.embed(list(queries[:2]))
        assert rows.shape[0] == min(2, len(queries))
        assert rows.isfinite().all()


def test_data_sets_side_by_side_are_not_mixed_up(miniatures, tmp_path):
    """Each finds its own files below the folder of all, also where its folder has another name or case."""
    for name in NAMES:
        folder = miniatures(name)
        if not (tmp_path / folder.name).exists():
            (tmp_path / folder.name).symlink_to(folder)
    for name in NAMES:
        assert miniature_task(name).items(tmp_path).missing_count == 0
    (tmp_path / "ESC-50-master").rename(tmp_path / "ESC50")
    (tmp_path / "LLVIP").rename(tmp_path / "llvip")
    (tmp_path / "audiocaps").rename(tmp_path / "AudioCaps-main")
    (tmp_path / "vggsound").rename(tmp_path / "VGGSound")
    for name in ("esc50", "llvip", "audiocaps", "vggsound"):
        assert miniature_task(name).items(tmp_path).missing_count == 0
    (tmp_path / "AudioCaps-main").unlink()  # other data sets have tables of splits, too
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "test.csv").write_text("label,youtube_id\n")
    with pytest.raises(MissingData, match="annotations missing"):
        miniature_task("audiocaps").items(tmp_path)
