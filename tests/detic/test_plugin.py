"""What the plugin registers, recognises and imports."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

import bindplug
import bindplug_detic
from bindplug.errors import MissingDependency, UnsupportedTarget
from bindplug.plugins import registry
from bindplug.testing import FakeEncoder
from bindplug_detic.plugin import recognises


def stage(**attributes):
    return SimpleNamespace(cls_score=SimpleNamespace(**attributes))


def detectron2_model(predictor, name="GeneralizedRCNN"):
    """An instance of a subclass of a class of that name, of which detectron2 is said to be the home."""
    base = type(name, (), {"__module__": "detectron2.modeling.meta_arch"})
    model = type("CustomRCNN", (base,), {"__module__": "detic.modeling"})()
    model.roi_heads = SimpleNamespace(box_predictor=predictor)
    return model


def test_the_cards():
    known = registry()
    assert known.adapters["detic"].card.extra == "detic"
    assert set(known.commands["detect"].card.requires) == {"click", "rich", "torchvision"}


def test_recognition(detector):
    assert recognises(detector)
    zero_shot = [stage(zs_weight=0), stage(zs_weight=0)]
    assert recognises(detectron2_model(zero_shot))
    predictor = detectron2_model((), "DefaultPredictor")
    predictor.model = detectron2_model(zero_shot)
    assert recognises(predictor)


@pytest.mark.parametrize("target", [
    detectron2_model([stage(zs_weight=0), stage()]), detectron2_model([]), detectron2_model(stage()),
    detectron2_model((), "DefaultPredictor"),
])  # fmt: skip
def test_detectors_without_a_zero_shot_classifier_are_claimed_to_say_so(target):
    assert recognises(target)
    with pytest.raises(UnsupportedTarget, match="no zero-shot classifier"):
        bindplug.upgrade(target, FakeEncoder())


@pytest.mark.parametrize(
    "target", [SimpleNamespace(roi_heads=None), SimpleNamespace(predictor=3), None, "detic"]
)
def test_others_are_not_claimed(target):
    assert not recognises(target)


def test_the_face_exports_what_it_says():
    assert bindplug_detic.__all__ == sorted(bindplug_detic.__all__)
    for name in bindplug_detic.__all__:
        assert getattr(bindplug_detic, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        _ = bindplug_detic.nothing


def test_importing_the_face_imports_nothing_heavy():
    code = "import bindplug_detic, bindplug_detic.plugin, sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "bindplug_detic.plugin" in done.stdout.split()
    assert not {"torch", "torchvision", "PIL", "detectron2"} & set(done.stdout.split())


def test_absent_torchvision_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.delitem(vars(bindplug_detic), "Detic", raising=False)
    with pytest.raises(MissingDependency, match=r"bindplug\[detic\]"):
        _ = bindplug_detic.Detic
