"""Other layouts of the same data sets, and annotations as editors on Windows save them."""

from __future__ import annotations

import shutil

import pytest

from bindplug_lab.datasets.folder import walk
from bindplug_lab.tasks import LabeledItems, PairedItems
from tests.lab.miniature import MAKERS, miniature_task

TEXTS = (".csv", ".json", ".txt", ".xml")
MOVES = [
    ("imagenet1k", {"val": "ILSVRC/Data/CLS-LOC/val"}),
    ("imagenet1k", {"val": "ILSVRC2012_img_val"}),
    (
        "places365",
        {"val_256": "val_large", "places365_val.txt": "filelist_places365-standard/places365_val.txt"},
    ),
    ("kinetics400", {"annotations/val.csv": "kinetics400/validate.csv"}),
    ("kinetics400", {"annotations/val.csv": "val.csv", "val": "videos_val"}),
    (
        "audioset",
        {"eval_segments": "audio/eval", "class_labels_indices.csv": "metadata/class_labels_indices.csv"},
    ),
    ("audioset", {"eval_segments/Y--BfvyPmVMo.wav": "eval_segments/--BfvyPmVMo_20.000.wav"}),
    ("audioset", {"eval_segments/Y--BfvyPmVMo.wav": "eval_segments/part/--BfvyPmVMo_20_30.wav"}),
    ("vggsound", {"audio": "videos"}),
    ("vggsound", {"audio/---g-f_I2yQ_000001.wav": "audio/---g-f_I2yQ_1.wav"}),
    ("esc50", {"meta": "ESC-50-master/meta", "audio": "ESC-50-master/audio"}),
    ("esc50", {"meta/esc50.csv": "meta/ESC50.CSV", "meta": "Meta", "audio": "Audio"}),
    ("clotho", {"evaluation": "clotho_audio_evaluation/evaluation"}),
    ("clotho", {"clotho_captions_evaluation.csv": "clotho_csv_files/clotho_captions_evaluation.csv"}),
    ("audiocaps", {"dataset/test.csv": "test.csv", "audio/test": "test"}),
    ("msrvtt", {"MSRVTT_JSFUSION_test.csv": "msrvtt_data/MSRVTT_JSFUSION_test.csv", "videos": "TestVideo"}),
    ("llvip", {"infrared": "LLVIP/infrared", "visible": "LLVIP/visible", "Annotations": "LLVIP/Annotations"}),
    ("ego4d", {"v2/imu": "v1/imu", "ego4d.json": "v1/ego4d.json"}),
    ("ego4d", {"v2/imu": "imu"}),
    ("nyud", {"splits.mat": "nyu_depth_v2/splits.mat"}),
    ("sun_rgbd", {"SUNRGBDtoolbox/traintestSUNRGBD": "traintestSUNRGBD"}),
]


def content(items):
    """What identifies items, whatever their paths are."""
    if isinstance(items, PairedItems):
        return items.left_ids, items.right_ids, items.matches, [query.terms for query in items.left]
    assert isinstance(items, LabeledItems)
    return items.ids, items.labels, items.class_names, items.synonyms, items.folds


@pytest.mark.parametrize(("name", "moves"), MOVES, ids=[f"{n}: {', '.join(m.values())}" for n, m in MOVES])
def test_documented_variants(miniatures, tmp_path, name, moves):
    folder = shutil.copytree(miniatures(name), tmp_path / "copy")
    for old, new in moves.items():
        (folder / new).parent.mkdir(parents=True, exist_ok=True)
        assert (folder / old).exists()
        (folder / old).rename(folder / new)
    task = miniature_task(name)
    assert content(task.items(folder)) == content(task.items(miniatures(name)))


@pytest.mark.parametrize("name", sorted({"nyud", *MAKERS} - {"nyud", "esc50_few_shot", "sun_rgbd_few_shot"}))
def test_byte_order_marks_and_windows_line_ends(miniatures, tmp_path, name):
    folder = shutil.copytree(miniatures(name), tmp_path / "copy")
    count = 0
    for path in walk(folder):
        if path.suffix in TEXTS and path.parent.name != "imu":
            text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
            path.write_bytes(("\ufeff" + text.replace("\n", "\r\n")).encode())
            count += 1
    assert count > 0 or name == "imagenet1k"
    task = miniature_task(name)
    assert content(task.items(folder)) == content(task.items(miniatures(name)))
