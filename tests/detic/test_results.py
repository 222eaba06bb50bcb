"""What detections hold, and how others read them."""

import json
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bindplug.errors import InputError, MissingDependency
from bindplug_detic.masks import compress, paste_crop, paste_masks, run_lengths
from tests.detic.conftest import make_detections
from tests.detic.rle import decode, decompress

RING = "]e0;_14M2N2M4N0O2N2N2O0O2O0O2O0O2O0O2O00000O2O00YOB0>OD0<OF0:OH08OJ060J060J060J060J060J060J061H081F0:1D0<1B0>g0001N1000001N101N101N101N101N2N2N102L3N2N3LiT1"  # noqa: E501
"""COCO's own encoder's string for :func:`ring`."""


def golden():
    return np.load(Path(__file__).parents[1] / "golden" / "detic" / "paste_and_resize.npz")


def ring():
    y, x = np.mgrid[:60, :90]
    inner = (y - 30) ** 2 + (x - 40) ** 2 < 60
    return ((y - 30) ** 2 / 400 + (x - 40) ** 2 / 900 < 1) & ~inner


@pytest.mark.parametrize("variant", ["r50", "swinb"])
def test_pasted_masks_are_the_originals(variant):
    data = golden()
    logits, boxes = (torch.from_numpy(data[f"{variant}_{name}"]) for name in ("logits", "boxes"))
    expected = np.unpackbits(data[f"{variant}_bits"], axis=2).astype(bool)
    masks = paste_masks(logits, boxes, (256, 320)).numpy()
    assert len(masks) == 5
    assert (masks != expected).sum((1, 2)).max() <= 2
    assert expected.sum((1, 2)).min() > 100


def sampled(logits, box, size):
    """The rule of pasting, by torch's grid sampling over the whole picture in double precision."""
    height, width = size
    x1, y1, x2, y2 = box.double()
    u = (torch.arange(width).double() + 0.5 - x1) / (x2 - x1) * 2 - 1
    v = (torch.arange(height).double() + 0.5 - y1) / (y2 - y1) * 2 - 1
    grid = torch.stack(torch.meshgrid(u, v, indexing="xy"), -1)[None]
    chance = logits.double().sigmoid()[None, None]
    return torch.nn.functional.grid_sample(chance, grid, align_corners=False)[0, 0]


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 70), st.integers(1, 70), st.booleans())
def test_pasting_is_grid_sampling(seed, height, width, is_tiny):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 28, 28, generator=generator) * 3
    corners = torch.rand(2, 2, 2, generator=generator).sort(1).values * torch.tensor([width, height])
    boxes = corners.reshape(2, 4)
    boxes[:, 2:] += 0.01 if is_tiny else 1
    pasted = paste_masks(logits, boxes, (height, width))
    for mask, one, box in zip(pasted, logits, boxes, strict=True):
        values = sampled(one, box, (height, width))
        clear = (values - 0.5).abs() > 1e-4
        assert torch.equal(mask[clear], (values >= 0.5)[clear])


def test_only_the_boxs_pixels_are_made():
    crop = paste_crop(
        torch.full((28, 28), 9.0), torch.tensor([1000.0, 2000.0, 1010.0, 2005.0]), (10**6, 10**6)
    )
    assert tuple(crop.mask.shape) == (5, 10)
    assert (crop.top, crop.left) == (2000, 1000)
    assert crop.mask[1:-1, 1:-1].all()


def test_tall_masks_are_made_in_pieces():
    logits, box = torch.randn(28, 28), torch.tensor([0.0, 0.0, 20.0, 3000.0])
    values = sampled(logits, box, (3000, 20))
    assert (paste_crop(logits, box, (3000, 20)).mask != (values >= 0.5)).sum() < 5


def test_masks_are_pasted_once_and_at_the_first_look():
    detections = make_detections()
    assert detections._masks is None
    assert detections.masks is detections.masks
    assert detections.masks.shape == (3, 60, 90)
    for index in range(3):
        mask, top, left = make_detections().mask_crop(index)
        assert torch.equal(
            detections.masks[index, top : top + mask.shape[0], left : left + mask.shape[1]], mask
        )
        assert detections.masks[index].sum() == mask.sum()


def test_no_masks():
    detections = make_detections(mask_logits=None)
    assert detections.masks is None
    assert not detections.has_masks
    with pytest.raises(InputError, match="with_masks=True"):
        detections.mask_crop(0)


@pytest.mark.parametrize("index", [[0, 2], torch.tensor([0, 2]), np.array([0, 2]), [True, False, True],
                                   torch.tensor([True, False, True]), slice(None, None, 2)])  # fmt: skip
@pytest.mark.parametrize("is_pasted", [True, False])
def test_selecting(index, is_pasted):
    detections = make_detections(info={"routes": ["direct", "linear", "rescore"], "prompts": "abc"})
    if is_pasted:
        assert detections.masks is not None
    selection = detections[index]
    assert selection.labels == ["dog", "car"]
    assert selection.label_indices.tolist() == [0, 2]
    assert selection.routes == ["direct", "rescore"]
    assert selection.prompts == ["a", "c"]
    assert torch.equal(selection.boxes, detections.boxes[[0, 2]])
    assert torch.equal(selection.masks, detections.masks[[0, 2]])
    assert selection.picture is detections.picture


def test_single_empty_and_absent_rows():
    detections = make_detections()
    assert detections[-1].labels == detections[2].labels == detections[np.int64(2)].labels == ["car"]
    assert [one.labels[0] for one in detections] == detections.labels
    assert len(detections[[]]) == len(detections[3:]) == 0
    assert detections.prompts is None
    with pytest.raises(IndexError):
        detections[3]
    with pytest.raises(IndexError):
        detections[[7]]


def test_filtering():
    detections = make_detections()
    assert detections.filter(labels="dog").labels == ["dog"]
    assert detections.filter(labels={"dog", "car"}, threshold=0.5).labels == ["dog"]
    assert detections.filter(threshold=0.6).labels == ["dog", "bird cage"]
    assert repr(detections).startswith("Detections(3 in 60x90: dog 0.90")


@pytest.mark.parametrize("fields", [{"scores": torch.zeros(2)}, {"boxes": torch.zeros(3, 5)}, {"labels": ["a"]},
                                    {"masks": torch.zeros(3, 6, 9)}, {"mask_logits": torch.zeros(2, 28, 28)},
                                    {"boxes": torch.full((3, 4), float("nan"))}])  # fmt: skip
def test_fields_that_do_not_go_together(fields):
    with pytest.raises(InputError, match="Detections"):
        make_detections(**fields)


class Boxes:
    """As detectron2's."""

    def __init__(self, tensor):
        self.tensor = tensor


class Instances:
    """As detectron2's: fields are set as attributes and share one length."""

    def __init__(self, image_size, **fields):
        self.__dict__["image_size"], self.__dict__["fields"] = image_size, {}
        for name, value in fields.items():
            setattr(self, name, value)

    def __setattr__(self, name, value):
        self.fields[name] = value

    def __getattr__(self, name):
        return self.fields[name]


def test_detectron2_form_is_detectron2s_own(monkeypatch):
    package = types.ModuleType("detectron2")
    structures = types.ModuleType("detectron2.structures")
    structures.Instances, structures.Boxes, package.structures = Instances, Boxes, structures
    monkeypatch.setitem(sys.modules, "detectron2", package)
    monkeypatch.setitem(sys.modules, "detectron2.structures", structures)
    detections = make_detections()
    instances = detections.to_detectron2()
    assert type(instances) is Instances
    assert type(instances.pred_boxes) is Boxes
    assert instances.image_size == (60, 90)
    assert torch.equal(instances.pred_boxes.tensor, detections.boxes)
    assert torch.equal(instances.scores, detections.scores)
    assert torch.equal(instances.pred_classes, detections.label_indices)
    assert torch.equal(instances.pred_masks, detections.masks)
    assert "pred_masks" not in make_detections(mask_logits=None).to_detectron2().fields


def test_without_detectron2_the_pip_line_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "detectron2", None)
    monkeypatch.delitem(sys.modules, "detectron2.structures", raising=False)
    with pytest.raises(
        MissingDependency, match=r"pip install .*git\+https://github.com/facebookresearch/detectron2"
    ):
        make_detections().to_detectron2()


def test_torchvision_form():
    detections = make_detections()
    result = detections.to_torchvision()
    assert result["masks"].shape == (3, 1, 60, 90)
    assert result["masks"].dtype == torch.uint8
    assert torch.equal(result["masks"][:, 0] > 0.5, detections.masks)
    assert result["labels"].dtype == torch.int64
    assert "masks" not in make_detections(mask_logits=None).to_torchvision()


def test_coco_form():
    detections = make_detections()
    entries = json.loads(json.dumps(detections.to_coco(image_id=42)))
    assert [entry["category_id"] for entry in entries] == [1, 2, 3]
    x1, y1, x2, y2 = detections.boxes[0].tolist()
    assert entries[0]["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1])
    for entry, mask in zip(entries, detections.masks, strict=True):
        assert entry["image_id"] == 42
        np.testing.assert_array_equal(decode(entry["segmentation"]["counts"], (60, 90)), mask.numpy())
    assert [entry["category_id"] for entry in detections.to_coco(category_ids=[7, 8, 90])] == [7, 8, 90]
    with pytest.raises(InputError, match="at least 3"):
        detections.to_coco(category_ids=[7, 8])


def test_json_form():
    detections = make_detections(info={"prompts": ["audio('bark.wav')"] * 3, "routes": ["linear"] * 3})
    result = json.loads(json.dumps(detections.to_dict()))
    assert result["image_size"] == [60, 90]
    first = result["detections"][0]
    assert (first["label"], first["prompt"], first["route"]) == ("dog", "audio('bark.wav')", "linear")
    assert first["mask"]["size"] == [60, 90]
    assert "mask" not in detections.to_dict(masks=False)["detections"][0]
    assert make_detections(0).to_dict()["detections"] == []


@pytest.mark.parametrize("count", [0, 3])
def test_supervision_form(count):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it recommends OpenCV
        result = make_detections(count).to_supervision()
    assert len(result) == count
    assert result.mask.shape == (count, 60, 90)
    assert result.data["class_name"].tolist() == make_detections(count).labels
    assert result.confidence.tolist() == make_detections(count).scores.tolist()


def test_absent_supervision_names_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingDependency, match="pip install supervision"):
        make_detections().to_supervision()


def test_run_lengths_are_cocos():
    assert compress(run_lengths(ring())) == RING
    np.testing.assert_array_equal(decode(RING, (60, 90)), ring())


@settings(max_examples=80)
@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_run_lengths_round_trip(mask):
    counts = run_lengths(mask)
    assert sum(counts) == mask.size
    assert sum(counts[1::2]) == mask.sum()
    assert min(counts[1:], default=1) > 0
    assert decompress(compress(counts)) == counts
    np.testing.assert_array_equal(decode(counts, mask.shape), mask)


@settings(max_examples=40)
@given(
    arrays.arrays(bool, (6, 5)), st.integers(0, 4), st.integers(0, 3), st.integers(0, 3), st.integers(0, 4)
)
def test_a_parts_run_lengths_are_the_wholes(mask, above, below, left, right):
    whole = np.pad(mask, ((above, below), (left, right)))
    assert run_lengths(mask, size=whole.shape, top=above, left=left) == run_lengths(whole)


@given(st.lists(st.integers(0, 2**40), max_size=12))
def test_any_counts_survive_compression(counts):
    assert decompress(compress(counts)) == counts


def test_damaged_run_lengths():
    for text, size in (("\x10", (2, 2)), ("P", (2, 2)), ("4", (3, 3)), ([5, -1], (2, 2))):
        with pytest.raises(ValueError, match="RLE"):
            decode(text, size)
