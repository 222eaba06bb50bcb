import sys
import types
from importlib.metadata import EntryPoint

import pytest
import torch

from bindplug import hookimpl, list_models, load, plugins, text
from bindplug.cards import ModelCard
from bindplug.errors import (
    InputError,
    MissingDependency,
    SpaceMismatch,
    UnknownModality,
    UnknownModel,
    WeightsNotFound,
)
from bindplug.models import _load_path, find_model
from bindplug.space import EmbeddingSpace
from bindplug.testing import FAKE_SPACE, FakeEncoder


@pytest.fixture
def install(monkeypatch, tmp_path):
    """A plugin that registers model cards, and a loader of its own."""
    loaders = types.ModuleType("toy_loaders")

    def make(path, *, modalities, device, dtype):
        made = FakeEncoder(modalities)
        made.asked = {"path": path, "modalities": modalities, "device": device, "dtype": dtype}
        return made

    loaders.make = make
    monkeypatch.setitem(sys.modules, "toy_loaders", loaders)
    monkeypatch.setenv("BINDPLUG_HOME", str(tmp_path))
    monkeypatch.setenv("BINDPLUG_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)

    def add(**changes):
        fields = {"name": "toy", "modalities": ("text", "audio"), "space": FAKE_SPACE, "license": "MIT",
                  "loader": "toy_loaders:make", **changes}  # fmt: skip
        plugin = types.ModuleType("toy_models")

        @hookimpl
        def register_models(register):
            register(ModelCard(**fields))

        plugin.register_models = register_models
        monkeypatch.setitem(sys.modules, "toy_models", plugin)
        monkeypatch.setattr(
            plugins, "entry_points", lambda group: [EntryPoint("toys", "toy_models", "bindplug")]
        )
        plugins.refresh()

    yield add
    plugins.refresh()


def test_a_registered_loader_gets_what_was_asked(install):
    install()
    model = load("toy", modalities={"audio"}, device="meta", dtype="float16")
    assert model.asked == {
        "path": None,
        "modalities": ("audio",),
        "device": torch.device("meta"),
        "dtype": torch.float16,
    }
    assert load("toy").embed([text("a")]).shape == (1, 16)


def test_a_loader_is_given_the_weights_file(install, tmp_path):
    install(url="http://127.0.0.1:9/toy.bin")
    (tmp_path / "toy.bin").write_bytes(b"weights")
    assert load("toy").asked["path"] == tmp_path / "toy.bin"


def test_models_are_listed_as_cards(install):
    install()
    assert [card.name for card in list_models()] == ["imagebind_huge", "toy"]


def test_what_another_tool_opens_is_found_but_not_loaded(install, tmp_path):
    install(name="toy_detic", tool="detector", modalities=(), url="http://127.0.0.1:9/toy.bin")
    (tmp_path / "toy.bin").write_bytes(b"weights")
    assert find_model("toy_detic", tool="detector") == tmp_path / "toy.bin"
    assert [card.name for card in list_models()] == ["imagebind_huge"]
    assert [card.name for card in list_models("detector")] == ["toy_detic"]
    assert [card.name for card in list_models(tool=None)] == ["imagebind_huge", "toy_detic"]
    with pytest.raises(UnknownModel, match="'toy_detic' is a detector and no encoder"):
        load("toy_detic")
    with pytest.raises(UnknownModel, match="no generator is named 'toy_detic'"):
        find_model("toy_detic", tool="generator")


def test_a_name_precedes_a_file_of_that_name(install, tmp_path):
    install()
    (tmp_path / "toy").mkdir()
    assert load("toy").asked["path"] is None
    with pytest.raises(WeightsNotFound, match=r"config\.json"):
        load("./toy")


def test_an_unknown_name_lists_the_known_ones(install, monkeypatch):
    install()
    with pytest.raises(UnknownModel, match="known names: imagebind_huge, toy"):
        load("imagebind_gigantic")
    monkeypatch.setenv("BINDPLUG_DISABLE", "toys")
    with pytest.raises(UnknownModel, match="toys is blocked"):
        load("toy")


@pytest.mark.parametrize("path", ["absent.pth", "absent/directory", "./absent"])
def test_a_path_that_is_not_there_is_named(install, path):
    with pytest.raises(WeightsNotFound, match="bindplug convert"):
        load(path)


def test_huge_offline_says_what_to_place_where(install, monkeypatch, tmp_path):
    for variable in ("TORCH_HOME", "HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "empty"))
    with pytest.raises(WeightsNotFound, match=r"4\.8 GB, license CC-BY-NC-4\.0[\s\S]*imagebind_huge\.pth"):
        load("imagebind_huge", modalities={"audio"})


def test_modalities_are_checked_before_anything_is_read(install):
    install()
    with pytest.raises(UnknownModality, match="smell"):
        load("toy", modalities={"smell"})
    with pytest.raises(InputError, match=r"some of \['text', 'audio'\]"):
        load("toy", modalities={"depth"})
    with pytest.raises(InputError, match="no modality"):
        load("toy", modalities=set())
    assert load("toy", modalities="audio").modalities == ("audio",)


def test_vision_means_images_and_videos(install):
    install(modalities=("image", "video", "text"))
    assert load("toy", modalities={"vision"}).modalities == ("image", "video")


@pytest.mark.parametrize("dtype", ["float17", "int8", torch.int8, "nn"])
def test_a_wrong_dtype_is_refused(install, dtype):
    install()
    with pytest.raises(InputError, match="bfloat16"):
        load("toy", dtype=dtype)


def test_a_model_must_live_where_its_card_says(install):
    install(space=EmbeddingSpace("elsewhere", 16))
    with pytest.raises(SpaceMismatch, match="the card of model 'toy'"):
        load("toy")


def test_a_missing_package_is_named_before_a_download(install):
    install(requires=("no_such_package",), url="http://127.0.0.1:9/toy.bin")
    with pytest.raises(MissingDependency, match="no_such_package"):
        load("toy")


def test_a_directory_is_loaded_from_its_manifest_too(install, monkeypatch, tmp_path):
    import bindplug.imagebind

    class Model(torch.nn.Module):
        pass

    seen = []
    monkeypatch.setattr(
        bindplug.imagebind, "load_directory", lambda path, **chosen: seen.append((path, chosen)) or Model()
    )
    (tmp_path / "config.json").write_text("{}")
    asked = {"modalities": None, "device": "cpu", "dtype": None}
    assert not _load_path(tmp_path / "config.json", asked).training
    assert seen == [(tmp_path, asked)]


@pytest.mark.parametrize(
    ("stored", "asked", "expected"),
    [
        ("float16", None, "float32"),
        ("float16", "float16", "float16"),
        ("float16", "auto", "float16"),
        ("bfloat16", None, "bfloat16"),
    ],
)
def test_half_precision_is_widened_on_the_cpu_unless_asked_for(tmp_path, stored, asked, expected):
    from bindplug.imagebind import ImageBind, ImageBindConfig, TowerConfig, save_directory

    config = ImageBindConfig(
        vision=TowerConfig(8, 1, 1, kernel=(2, 112, 112)),
        text=TowerConfig(8, 1, 1),
        audio=TowerConfig(8, 1, 1, kernel=(64, 64)),
        depth=TowerConfig(8, 1, 1, kernel=(112, 112)),
        thermal=TowerConfig(8, 1, 1, kernel=(112, 112)),
        imu=TowerConfig(8, 1, 1, kernel=(200,)),
        embed_dim=4,
    )
    model = ImageBind(config, {"imu"})
    save_directory(model, tmp_path / "model", dtype=getattr(torch, stored))
    assert load(tmp_path / "model", dtype=asked).dtype == getattr(torch, expected)
