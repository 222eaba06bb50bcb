"""What goes wrong with ids of other libraries, and what the errors say."""

from __future__ import annotations

import json
import shutil

import httpx
import huggingface_hub
import huggingface_hub.errors as hub_errors
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import bindplug
from bindplug import audio, text
from bindplug.errors import (
    CheckpointError,
    InputError,
    MissingDependency,
    OptionError,
    UnknownModel,
    WeightsNotFound,
)
from bindplug.foreign import fingerprint_of_weights
from tests import small_foreign


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    root = tmp_path_factory.mktemp("originals")
    return {"clip": small_foreign.clip(root / "clip"), "clap": small_foreign.clap(root / "clap")}


@pytest.fixture
def copy_of(originals, tmp_path):
    def copy(kind):
        shutil.copytree(originals[kind], tmp_path / kind)
        return tmp_path / kind

    return copy


def edit(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | changes))


@pytest.mark.parametrize(
    ("model_type", "architecture", "remedy"),
    [
        ("bert", "BertForMaskedLM", ""),
        ("t5", "T5Model", ""),
        ("imagebind", "ImageBindModel", "It is ImageBind"),
    ],
)
def test_models_of_other_classes_are_refused_with_the_classes_there_are(
    tmp_path, model_type, architecture, remedy
):
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": model_type, "architectures": [architecture]})
    )
    with pytest.raises(UnknownModel) as caught:
        bindplug.load(f"transformers:{tmp_path}")
    message = str(caught.value)
    assert f"of type '{model_type}' ({architecture})" in message
    for name in ("ClapModel", "PeAudioVideoModel", "EmbeddingGemma2Model", "CLIPModel", "Siglip2Model"):
        assert name in message
    assert remedy in message


def test_a_model_of_sentence_transformers_is_pointed_there(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "modules.json").write_text("[]")
    with pytest.raises(UnknownModel, match="load 'sentence-transformers:"):
        bindplug.load(f"transformers:{tmp_path}")


def test_ids_that_are_none():
    with pytest.raises(
        UnknownModel, match=r"no model source is named 'tensorflow'; known forms: .*transformers:OWNER"
    ):
        bindplug.load("tensorflow:a/b")
    with pytest.raises(UnknownModel, match="names no model; expected transformers:OWNER/NAME"):
        bindplug.load("transformers:")
    with pytest.raises(WeightsNotFound, match="the directory 'absent' does not exist"):
        bindplug.load("transformers:./absent")


def test_a_class_that_an_older_release_lacks(originals, monkeypatch):
    import transformers

    class Older:
        __version__ = "4.50.0"
        utils = transformers.utils

    monkeypatch.setattr("bindplug_transformers.sources.loading.require", lambda *args, **options: Older)
    with pytest.raises(MissingDependency, match=r"ClapModel\) needs transformers \(too old\): pip install"):
        bindplug.load(f"transformers:{originals['clap']}")


RESPONSE = httpx.Response(403, request=httpx.Request("GET", "http://hub.invalid"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (hub_errors.GatedRepoError("gated", response=RESPONSE), "the repository is gated: accept its terms"),
        (
            hub_errors.RepositoryNotFoundError("404", response=RESPONSE),
            "no repository of that id, or it is private",
        ),
        (hub_errors.LocalEntryNotFoundError("none"), "the hub is out of reach or forbidden"),
        (hub_errors.OfflineModeIsEnabled("offline"), "the environment forbids the network"),
        (hub_errors.HFValidationError("id"), "that is no id of the hub"),
        (ConnectionError("no route to host"), "could not be reached .*no route to host"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_errors_of_the_hub_come_with_their_remedy(monkeypatch, error, words):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(WeightsNotFound, match=words) as caught:
        bindplug.load("transformers:owner/name")
    assert "hf download owner/name --local-dir DIR" in str(caught.value)
    assert "transformers:DIR" in str(caught.value)


@pytest.mark.parametrize("variable", ["BINDPLUG_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_looks_on_this_machine_only(monkeypatch, originals, variable):
    calls = []

    def snapshot(name, **options):
        calls.append(options)
        return str(originals["clip"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setenv(variable, "1")
    model = bindplug.load("transformers:owner/name")
    assert model.embedding_space.name == "transformers:owner/name"
    assert [options["local_files_only"] for options in calls] == [True]
    assert not any(pattern.endswith((".py", ".bin", ".pt")) for pattern in calls[0]["allow_patterns"])


def test_damaged_directories(copy_of):
    directory = copy_of("clip")
    weights = directory / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="could not be opened"):
        bindplug.load(f"transformers:{directory}")
    weights.unlink()
    with pytest.raises(CheckpointError, match="could not be opened"):
        bindplug.load(f"transformers:{directory}")
    weights.write_bytes(whole)
    tensors = load_file(weights)
    save_file({k: v for k, v in tensors.items() if k != "text_projection.weight"}, weights, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"its weights lack 1 tensors, as text_projection\.weight"):
        bindplug.load(f"transformers:{directory}")
    (directory / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not a whole JSON file"):
        bindplug.load(f"transformers:{directory}")
    (directory / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"there is no config\.json"):
        bindplug.load(f"transformers:{directory}")


def test_weights_that_are_not_numbers(copy_of):
    directory = copy_of("clip")
    tensors = load_file(directory / "model.safetensors")
    tensors["visual_projection.weight"][0, :3] = torch.nan
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"visual_projection\.weight holds 3 NaN or infinite numbers"):
        bindplug.load(f"transformers:{directory}")


def test_a_processor_of_another_model(tmp_path, originals, copy_of):
    larger = small_foreign.clip(tmp_path / "larger", side=64)
    with pytest.raises(CheckpointError, match="its processor has images of side 32, its model expects 64"):
        bindplug.load(f"transformers:{larger}")
    mels = small_foreign.clap(tmp_path / "mels", mels=8)
    with pytest.raises(CheckpointError, match="its processor has mel bins: 16, its model expects 8"):
        bindplug.load(f"transformers:{mels}")
    directory = copy_of("clip")
    small_foreign.tokenizer(size=80).save_pretrained(directory)
    with pytest.raises(CheckpointError, match="a vocabulary of 80, its model expects at most 64"):
        bindplug.load(f"transformers:{directory}")


def test_modalities_it_does_not_have(originals):
    with pytest.raises(InputError, match=r"modalities \['depth'\]; expected some of \['image', 'text'\]"):
        bindplug.load(f"transformers:{originals['clip']}", modalities={"text", "depth"})


def test_pickled_weights_run_no_code(copy_of):
    """A directory whose weights are a pickle is opened with ``weights_only=True``."""

    class Evil:
        def __reduce__(self):
            return (print, ("this must not be printed",))

    directory = copy_of("clip")
    (directory / "model.safetensors").unlink()
    torch.save({"logit_scale": Evil()}, directory / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="could not be opened"):
        bindplug.load(f"transformers:{directory}")


def test_a_tokenizer_that_ends_texts_otherwise_than_the_model_expects(copy_of):
    """The model would take the state of each text's start, which is the same for all."""
    directory = copy_of("clip")
    config = json.loads((directory / "config.json").read_text())
    edit(directory / "config.json", text_config=config["text_config"] | {"eos_token_id": 5})
    with pytest.raises(CheckpointError, match="its processor has the end token 2, its model expects 5"):
        bindplug.load(f"transformers:{directory}")


def test_code_beside_the_weights_is_not_run(copy_of):
    directory = copy_of("clip")
    edit(directory / "config.json", auto_map={"AutoModel": "modeling_evil.Evil"})
    (directory / "modeling_evil.py").write_text("raise SystemExit('this must not run')")
    assert bindplug.load(f"transformers:{directory}").modalities == ("image", "text")


def test_fingerprints_tell_two_sets_of_weights_apart(originals, tmp_path):
    first = bindplug.load(f"transformers:{originals['clip']}")
    other = bindplug.load(f"transformers:{small_foreign.clip(tmp_path / 'clip', seed=1)}")
    half = bindplug.load(f"transformers:{originals['clip']}", dtype="float16")
    assert first.embedding_space.name == other.embedding_space.name
    assert not first.embedding_space.matches(other.embedding_space)
    assert first.embedding_space.matches(half.embedding_space)
    assert (half.dtype, first.dtype) == (torch.float16, torch.float32)


@pytest.mark.parametrize(
    "key", ["text_projection.weight", "text_model.encoder.layers.1.self_attn.v_proj.weight"]
)
def test_fingerprints_tell_models_apart_of_which_one_tensor_was_trained_further(originals, key):
    state = bindplug.load(f"transformers:{originals['clip']}").network.state_dict()
    # as many layers as large networks have, so that few numbers are sampled of each tensor
    state |= {f"text_model.encoder.layers.{i}.more.weight": torch.ones(4, 4) for i in range(900)}
    trained = state | {key: state[key] * 1.05}
    assert not fingerprint_of_weights(state).matches(fingerprint_of_weights(trained))


@pytest.mark.parametrize(
    ("kind", "query", "says"),
    [
        (
            "clap",
            audio(np.ones(900, np.float32), sample_rate=4000, clip=3),
            "a sound has no option 'clip'; .*clips",
        ),
        ("clap", text("a dog", promt="the "), "a text has no option 'promt'; expected truncate, prompt"),
        ("clip", text("a dog", against="audio"), "a text has no option 'against'; expected truncate, prompt"),
    ],
)
def test_unknown_options_are_no_fault_of_the_data(originals, kind, query, says):
    with pytest.raises(OptionError, match=says):
        bindplug.load(f"transformers:{originals[kind]}").embed([query])
