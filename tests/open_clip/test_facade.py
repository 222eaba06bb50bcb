"""The module itself: every name of the real one, the real models untouched, and a light import."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest

import bindplug_open_clip
from bindplug import lazy, list_plugins
from bindplug.errors import MissingDependency
from tests.open_clip.conftest import NAME

ROOT = Path(__file__).parents[2]
EXTENDED = set(bindplug_open_clip._MODULES)
PUBLIC = [name for name in vars(open_clip) if not name.startswith("_")]
HERE = {"factory", "model", "pretrained"}


@pytest.mark.parametrize("name", [n for n in PUBLIC if n not in EXTENDED | HERE])
def test_a_name_that_is_not_extended_is_the_very_object(name):
    assert getattr(bindplug_open_clip, name) is getattr(open_clip, name)


@pytest.mark.parametrize("name", sorted(EXTENDED & set(PUBLIC)))
def test_an_extended_function_shows_the_signature_of_the_real_one(name):
    ours, theirs = getattr(bindplug_open_clip, name), getattr(open_clip, name)
    assert ours is not theirs
    assert inspect.signature(ours) == inspect.signature(theirs) or name.startswith("convert_weights")


def test_every_extended_name_of_open_clips_still_exists_there():
    own = {"ClipImageBind", "CustomTextClipImageBind", "UpgradedClip"}
    assert EXTENDED - own <= set(PUBLIC)
    assert len(PUBLIC) > 60


def test_star_import_dir_and_version():
    space: dict = {}
    exec("from bindplug_open_clip import *", space)
    assert set(PUBLIC) | EXTENDED <= {*space}
    assert set(PUBLIC) | EXTENDED <= {*dir(bindplug_open_clip)}
    assert bindplug_open_clip.__version__ == open_clip.__version__
    assert sorted(bindplug_open_clip.__all__) == bindplug_open_clip.__all__


def test_modules_inside_are_reached_as_attributes():
    assert bindplug_open_clip.tokenizer is open_clip.tokenizer
    assert bindplug_open_clip.transform.image_transform is open_clip.transform.image_transform
    from bindplug_open_clip import factory, zero_shot_metadata
    from bindplug_open_clip.factory import create_loss, create_model

    assert zero_shot_metadata is open_clip.zero_shot_metadata
    assert create_loss is open_clip.create_loss
    assert create_model is bindplug_open_clip.create_model is factory.create_model
    assert factory.load_state_dict is open_clip.factory.load_state_dict
    assert bindplug_open_clip.model.CLIP is open_clip.CLIP
    assert bindplug_open_clip.pretrained.download_pretrained is open_clip.download_pretrained
    assert {"load_state_dict", "create_model"} <= {*dir(factory)}


def test_an_unknown_name_is_an_attribute_error_that_names_both():
    with pytest.raises(AttributeError, match=r"neither has open_clip \d"):
        _ = bindplug_open_clip.create_nothing
    assert not hasattr(bindplug_open_clip, "__wrapped__")


def test_a_real_model_is_open_clips_own(tmp_path):
    ours = bindplug_open_clip.create_model("RN50", "", "fp32", "cpu", force_image_size=64)
    assert type(ours) is open_clip.CLIP
    assert type(bindplug_open_clip.get_tokenizer("RN50")) is open_clip.SimpleTokenizer
    assert bindplug_open_clip.get_model_config("RN50") == open_clip.get_model_config("RN50")
    assert bindplug_open_clip.get_model_config("nothing") is None


def test_lists_name_the_real_models_then_ours():
    for function in ("list_models", "list_pretrained"):
        theirs, ours = getattr(open_clip, function)(), getattr(bindplug_open_clip, function)()
        assert ours[: len(theirs)] == theirs
    assert {"imagebind_huge", NAME} <= {*bindplug_open_clip.list_models()}
    assert (NAME, "bindplug") in bindplug_open_clip.list_pretrained()
    assert f"{NAME}:bindplug" in bindplug_open_clip.list_pretrained(as_str=True)
    assert bindplug_open_clip.list_pretrained_tags_by_model(NAME) == ["bindplug"]
    assert NAME in bindplug_open_clip.list_pretrained_models_by_tag("bindplug")
    assert bindplug_open_clip.list_pretrained_models_by_tag(
        "openai"
    ) == open_clip.list_pretrained_models_by_tag("openai")
    assert bindplug_open_clip.is_pretrained_cfg(NAME, "bindplug")
    assert not bindplug_open_clip.is_pretrained_cfg(NAME, "openai")
    assert bindplug_open_clip.get_pretrained_cfg(NAME, "openai") == {}
    assert bindplug_open_clip.get_pretrained_url("imagebind_huge", "bindplug").endswith("imagebind_huge.pth")
    assert bindplug_open_clip.get_pretrained_url("ViT-B-32", "openai") == open_clip.get_pretrained_url(
        "ViT-B-32", "openai"
    )


def test_nothing_is_patched():
    code = (
        "import open_clip\n"
        "before = {n: id(v) for m in ('open_clip','open_clip.factory','open_clip.pretrained','open_clip.model')"
        " for n, v in vars(__import__('sys').modules[m]).items()}\n"
        "import bindplug_open_clip as b\n"
        "b.list_models(); b.create_model; b.list_pretrained(); b.ClipImageBind\n"
        "after = {n: id(v) for m in ('open_clip','open_clip.factory','open_clip.pretrained','open_clip.model')"
        " for n, v in vars(__import__('sys').modules[m]).items()}\n"
        "assert before == after\n"
        "assert 'imagebind_huge' not in open_clip.list_models()\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_importing_and_listing_imports_no_open_clip():
    code = "import bindplug_open_clip.plugin, bindplug, sys; bindplug.list_plugins(); print('open_clip' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
    (plugin,) = [plugin for plugin in list_plugins() if plugin.name == "open_clip"]
    assert (plugin.status, plugin.provides) == ("ready", ["model_sources:open_clip", "adapters:open_clip"])


def test_without_open_clip_the_pip_line_is_named(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError("No module named 'open_clip'", name="open_clip")

    monkeypatch.setattr(lazy, "import_module", absent)
    with pytest.raises(MissingDependency, match=r'pip install "bindplug\[open-clip\]"'):
        _ = bindplug_open_clip.tokenize
