"""``bindplug generate``, with a tiny pipeline in a directory and a tiny ImageBind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from bindplug.cli.app import run
from bindplug.imagebind import save_directory
from bindplug_diffusers.command import sheet
from tests.diffusers import tiny
from tests.diffusers.test_refusals import small_imagebind


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A pipeline, one with an adapter beside it, a model, and two pictures."""
    root = tmp_path_factory.mktemp("generate")
    save_directory(small_imagebind(), root / "model", license="Apache-2.0")
    pipe = tiny.unclip(encoder=False)
    pipe.save_pretrained(root / "unclip")
    plain = tiny.stable_diffusion(adapters=())
    plain.save_pretrained(root / "sd")
    state = tiny.adapter_state(plain.unet, "pooled", 16)
    (root / "adapters" / "models").mkdir(parents=True)
    flat = {f"{part}.{name}": tensor for part, held in state.items() for name, tensor in held.items()}
    save_file(flat, str(root / "adapters" / "models" / "ip.safetensors"))
    for name, color in (("a.png", "red"), ("b.png", "navy")):
        Image.new("RGB", (32, 32), color).save(root / name)
    return root


@pytest.fixture
def generate(place, tmp_path, monkeypatch, capfd):
    """Runs the command in a fresh directory; gives its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, pipeline: str = "unclip") -> tuple[int, str, str]:
        known = ["--pipeline", place / pipeline, "--model", place / "model", "--steps", 1]
        capfd.readouterr()
        code = run(["generate", *map(str, (*known, *arguments))])
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return call


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_picture_of_a_picture_and_a_sentence(generate, place, tmp_path):
    given = (
        "--text",
        "a dog",
        "--image",
        place / "a.png",
        "--weights",
        "1,-0.5",
        "--seed",
        7,
        "--json",
        "--quiet",
    )
    code, out, err = generate(*given, "-o", "out.png", "--strength", "0.5", "--prompt", "oil")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["entrance"] == "image_embeds"
    assert told["prompt"] == "oil"
    assert told["pictures"] == [
        {"path": "out.png", "query": f"text('a dog') - 0.5 * image('{place / 'a.png'}')", "seed": 7}
    ]
    first = read(tmp_path / "out.png")
    generate(*given, "-o", "again.png", "--strength", "0.5", "--prompt", "oil")
    assert np.array_equal(first, read(tmp_path / "again.png"))


def test_a_morph_on_a_sheet_and_pictures_of_each(generate, place, tmp_path):
    two = ("--image", place / "a.png", "--image", place / "b.png", "--seed", 1)
    code, out, _ = generate(*two, "--interpolate", 3, "--grid", "-o", "morph.png")
    assert code == 0
    assert len(out.splitlines()) == 3
    assert read(tmp_path / "morph.png").shape == (16, 48, 3)
    code, out, _ = generate(*two, "--each", "--count", 2, "-o", "each.png", "--json")
    told = json.loads(out)["pictures"]
    assert [Path(picture["path"]).name for picture in told] == [f"each-{i}.png" for i in (1, 2, 3, 4)]
    assert [picture["seed"] for picture in told] == [1, 2, 1, 2]
    assert all((tmp_path / picture["path"]).is_file() for picture in told)


def test_prototypes_of_a_folder_the_pipelines_own_and_none(generate, place, tmp_path):
    pictures = {}
    for name, how in {"folder": ("--prototypes", place), "none": ("--no-prototypes",), "own": ()}.items():
        code, out, err = generate("--text", "a", "--seed", 1, "--json", "-q", *how, "-o", f"{name}.png")
        assert code == 0, err
        assert json.loads(out)["prototypes"] == (2 if name == "folder" else 0)
        pictures[name] = read(tmp_path / f"{name}.png")
    assert np.array_equal(pictures["none"], pictures["own"])
    assert not np.array_equal(pictures["none"], pictures["folder"])
    code, _, err = generate("--text", "a", "--prototypes", place, "--no-prototypes", "-o", "out.png")
    assert code == 2
    assert "exclude each other" in err


def test_an_adapter_is_loaded(generate, place, tmp_path):
    adapter = ("--ip-adapter", f"{place / 'adapters'}:models/ip.safetensors")
    code, out, err = generate(
        "--image", place / "a.png", *adapter, "-o", "out.png", "--json", "-q", pipeline="sd"
    )
    assert code == 0, err
    assert json.loads(out)["entrance"] == "ip_adapter_image_embeds"
    code, _, err = generate("--image", place / "a.png", "-o", "other.png", "-q", pipeline="sd")
    assert code == 1
    assert "none is loaded" in err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("-o", "out.png"), 2, "nothing to read"),
        (("--text", "a", "-o", "out.xyz"), 1, "suffix '.xyz'"),
        (("--text", "a", "-o", "absent/out.png"), 1, "no directory"),
        (("--text", "a", "--weights", "1,2", "-o", "out.png"), 2, "2 weights for 1 sources"),
        (("--text", "a", "--weights", "x", "-o", "out.png"), 2, "no list of numbers"),
        (("--text", "a", "--interpolate", "3", "-o", "out.png"), 2, "1 are given"),
        (("--text", "a", "--text", "b", "--interpolate", "3", "--each", "-o", "out.png"), 2, "exclude"),
        (("--text", "a", "--each", "--weights", "1", "-o", "out.png"), 2, "for a sum"),
        (("--text", "a", "--pipeline", "nonsense", "-o", "out.png"), 1, "no pipeline is named 'nonsense'"),
        (("--text", "a", "--ip-adapter", "x", "-o", "out.png"), 1, "PATH_OR_ID:FILE"),
    ],
)
def test_wrong_usage_is_told(generate, arguments, code, told):
    found, _, err = generate(*arguments)
    assert found == code
    assert told in err


def test_a_directory_that_holds_no_pipeline(generate, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = generate("--text", "a", "--pipeline", tmp_path / "empty", "-o", "out.png")
    assert code == 1
    assert "could not be opened as a diffusers pipeline" in err


def test_the_default_pipeline_is_a_registered_one(generate, monkeypatch):
    from bindplug import models

    monkeypatch.setattr(models, "list_models", lambda tool="encoder": [])
    code, _, err = generate("--text", "a", "--pipeline", "toy_unclip", "-o", "out.png")
    assert code == 1
    assert "no generator is named 'toy_unclip'" in err


def test_the_bundled_pipeline_paints_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["generate", "--text", "a fire", "--steps", "12", "--seed", "0", "-o", "fire.png", "-q"]) == 0
    middle = read(tmp_path / "fire.png")[24:48, 24:40].astype(float)
    red, _, blue = middle.mean((0, 1)).tolist()
    assert red > blue + 60


def test_sheets():
    pictures = [Image.new("RGB", (4, 6), color) for color in ("red", "lime", "blue")]
    made = sheet(pictures, 2)
    assert made.size == (8, 12)
    assert [made.getpixel(at) for at in ((0, 0), (4, 0), (0, 6))] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert made.getpixel((7, 11)) == (255, 255, 255)


def test_weights_accumulate_and_go_with_sources_in_the_order_typed(generate, place):
    typed = ("--image", place / "a.png", "--text", "a dog", "--weights", "1", "--weights", "-0.5")
    code, out, err = generate(*typed, "--seed", 1, "--json", "-q", "-o", "out.png")
    assert code == 0, err
    (picture,) = json.loads(out)["pictures"]
    assert picture["query"] == f"image('{place / 'a.png'}') - 0.5 * text('a dog')"


def test_what_is_missing_is_found_before_anything_is_loaded(generate, place, tmp_path, monkeypatch):
    def load(*_, **__):
        raise AssertionError("a pipeline was loaded")

    monkeypatch.setattr("bindplug_diffusers.command.load_pipeline", load)
    code, _, err = generate("--image", "absent.png", "-o", "out.png")
    assert (code, "absent.png: no such file" in err) == (1, True), err
    code, _, err = generate("--text", "a", "--prototypes", "absent", "-o", "out.png")
    assert (code, "no such file 'absent'" in err) == (1, True), err
    monkeypatch.setattr("bindplug_diffusers.command.os.access", lambda *_: False)
    code, _, err = generate("--text", "a", "-o", "out.png")
    assert (code, "no permission to write it" in err) == (1, True), err


def test_a_pipeline_is_checked_before_the_model_is_loaded(generate, monkeypatch):
    def load(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("bindplug_diffusers.command.ModelChoice.load", load)
    monkeypatch.setattr(
        "bindplug_diffusers.command.load_pipeline", lambda *_, **__: (tiny.cascade_prior(), None)
    )
    code, _, err = generate("--text", "a", "-o", "out.png")
    assert (code, "which makes embeddings" in err) == (1, True), err


def test_dtypes_have_one_spelling_and_its_short_forms(generate):
    for dtype in ("float16", "fp16", "FP32"):
        dtypes = ("--pipeline-dtype", "fp32", "--dtype", dtype)
        code, _, err = generate("--text", "a", *dtypes, "--strength", 0, "-q", "-o", f"{dtype}.png")
        assert code == 0, err


@pytest.mark.parametrize(("output", "more"), [("a.png", ()), ("x.png", ("--count", 2))])
def test_a_picture_that_would_replace_a_source_is_refused(generate, place, output, more):
    source = Path("a.png" if output == "a.png" else "x-2.png")
    source.write_bytes((place / "a.png").read_bytes())
    code, _, err = generate("--image", source, "-o", output, *more)
    assert code == 1
    assert f"{source}: one of the files to read" in err
    assert source.read_bytes() == (place / "a.png").read_bytes()


def test_pictures_are_replaced_only_where_it_is_asked_for(generate, place, tmp_path):
    arguments = ("--image", place / "a.png", "--text", "a dog", "--each", "-o", "out.png", "--quiet")
    (tmp_path / "out-2.png").write_bytes(b"a picture of mine")
    code, _, err = generate(*arguments, pipeline="no-such-pipeline")
    assert code == 1
    assert "out-2.png" in err
    assert "--overwrite" in err
    assert [path.name for path in tmp_path.iterdir()] == ["out-2.png"]
    assert generate(*arguments, "--overwrite")[0] == 0
    assert read(tmp_path / "out-2.png").shape == read(tmp_path / "out-1.png").shape
