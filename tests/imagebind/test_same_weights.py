"""Whether a CLIP is ImageBind's: told by weights, from a model, from a file, from a fingerprint alone."""

import json
from pathlib import Path

import pytest
import torch

import bindplug
from bindplug import quantize
from bindplug.errors import CheckpointError
from bindplug.fingerprint import Fingerprint, same_fingerprints
from bindplug.imagebind import (
    ImageBind,
    difference,
    fingerprint_of,
    from_open_clip,
    load_directory,
    read_fingerprint,
    save_directory,
    to_open_clip,
)
from bindplug.imagebind.same_weights import (
    BLOCK_PARTS,
    DEFINING,
    MORE_BLOCK_PARTS,
    MORE_DEFINING,
    PATCHES,
    TEXT_PROJECTION,
    TOKENS,
    VISION_PROJECTION,
)
from tests.small import SMALL


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    model = ImageBind(SMALL).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    # As published: a still image sees the sum of two equal frames.
    patches = model.towers["vision"].stem.proj.weight
    with torch.no_grad():
        patches.copy_(patches[:, :, :1].expand_as(patches))
    return model


@pytest.fixture
def clip(network):
    """The tensors that a CLIP of the same weights hands over."""
    return dict(from_open_clip(to_open_clip(network.official_state_dict())))


def test_nothing_tells_the_same_weights_apart(network, clip):
    assert difference(clip, network.fingerprint) is None
    clip[PATCHES] = clip[PATCHES].sum(2)  # a CLIP's own patch projection has no frames
    assert difference(clip, network.fingerprint) is None


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("reference", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_were_rounded_on_disk_and_widened_again_are_the_same(network, clip, stored, reference):
    ours = fingerprint_of({n: t.to(reference) for n, t in network.official_state_dict().items()})
    assert difference({n: t.to(stored).float() for n, t in clip.items()}, ours) is None
    assert difference({n: t.to(stored) for n, t in clip.items()}, ours) is None


@pytest.mark.parametrize(
    "name",
    [
        *(DEFINING + MORE_DEFINING),
        *(
            f"modality_trunks.{tower}.blocks.0.{part}"
            for tower in ("vision", "text")
            for part in BLOCK_PARTS + MORE_BLOCK_PARTS
        ),
    ],
)
@pytest.mark.parametrize("change", [lambda t: t * 1.01, lambda t: t + 1e-3, torch.zeros_like], ids="123")
def test_any_tensor_that_was_changed_is_noticed(network, clip, name, change):
    apart = difference(clip | {name: change(clip[name])}, network.fingerprint)
    assert "other numbers" in str(apart)
    assert ("blocks" if "blocks" in name else name) in apart.message


def test_fine_tuned_marks_of_start_and_end_are_noticed(network, clip):
    table = clip[TOKENS].clone()
    table[-2:] += 1e-2
    assert f"{TOKENS} holds other numbers" in str(difference(clip | {TOKENS: table}, network.fingerprint))


def test_a_fingerprint_of_an_earlier_version_is_compared_in_what_it_samples(network, clip):
    whole = network.fingerprint
    names = [*DEFINING, *(n for n in clip if ".blocks." in n and n.endswith(BLOCK_PARTS))]
    frames = {PATCHES: clip[PATCHES].sum(2)}
    count = sum(min(24 if n in DEFINING else 3, (clip | frames)[n].numel()) for n in names)
    earlier = Fingerprint(whole.sizes, whole.numbers[:count])
    assert difference(clip, earlier) is None
    assert earlier.matches(whole)
    assert whole.matches(earlier)
    bias = "modality_trunks.text.blocks.0.norm_1.bias"
    weight = "modality_trunks.text.blocks.0.mlp.fc2.weight"
    assert difference(clip | {bias: clip[bias] + 1}, earlier) is None
    assert "blocks" in str(difference(clip | {weight: clip[weight] + 1}, earlier))
    assert not earlier.matches(fingerprint_of(clip | {weight: clip[weight] + 1}))


def test_the_fingerprint_that_the_first_version_wrote_still_matches():
    stored = (Path(__file__).parent.parent / "golden" / "imagebind" / "first_fingerprint.txt").read_text()
    model = bindplug.load("imagebind_tiny", modalities={"audio"})
    assert same_fingerprints(stored.strip(), model.embedding_space.fingerprint)


def test_what_tells_a_clip_apart_is_said(network, clip):
    reference = network.fingerprint
    assert "QuickGELU" in str(difference(clip, reference, quick_gelu=True))
    assert "not there to compare" in str(difference(clip, None))
    assert TEXT_PROJECTION in str(
        difference({n: t for n, t in clip.items() if n != TEXT_PROJECTION}, reference)
    )
    block = {n.replace("blocks.0.", "blocks.1."): t for n, t in clip.items() if ".text.blocks.0." in n}
    assert "text tower is 2, ImageBind's 1" in str(difference(clip | block, reference))
    narrow = clip | {
        VISION_PROJECTION: clip[VISION_PROJECTION][:8],
        TEXT_PROJECTION: clip[TEXT_PROJECTION][:8],
    }
    assert "width of embeddings is 8, ImageBind's 16" in str(difference(narrow, reference))
    with pytest.raises(CheckpointError, match="int8"):
        difference(clip | {TEXT_PROJECTION: clip[TEXT_PROJECTION].to(torch.int8)}, reference)


def test_a_part_of_a_model_keeps_the_fingerprint_of_the_whole(network, tmp_path):
    state = {name: tensor.clone() for name, tensor in network.official_state_dict().items()}
    torch.save(state, tmp_path / "whole.pth")
    directory = save_directory(network, tmp_path / "whole", dtype=torch.float16)
    whole = network.fingerprint
    for part in (
        ImageBind.from_official(tmp_path / "whole.pth", SMALL, modalities={"audio"}),
        load_directory(directory, modalities={"imu"}),
        ImageBind.from_official(state, SMALL, modalities={"depth"}),
    ):
        assert part.fingerprint.matches(whole)
        assert part.embedding_space.matches(ImageBind.from_official(state, SMALL).embedding_space)
    assert read_fingerprint(tmp_path / "whole.pth").matches(whole)
    assert read_fingerprint(directory).matches(whole)
    # Stored, so that a directory of sensors alone has it too.
    sensors = save_directory(load_directory(directory, modalities={"audio"}), tmp_path / "sensors")
    assert not (sensors / "vision.safetensors").exists()
    assert load_directory(sensors).fingerprint.matches(whole)


def test_a_directory_without_a_stored_fingerprint_gives_it_from_its_files(network, tmp_path):
    directory = save_directory(network, tmp_path / "m")
    manifest = json.loads((directory / "config.json").read_text())
    stored = manifest.pop("fingerprint")
    (directory / "config.json").write_text(json.dumps(manifest))
    assert str(load_directory(directory, modalities={"audio"}).fingerprint) == stored
    (directory / "config.json").write_text(json.dumps(manifest | {"fingerprint": "ab"}))
    with pytest.raises(CheckpointError, match="fingerprint cannot be read"):
        load_directory(directory)


def test_training_the_towers_further_shows(network):
    state = {name: tensor.clone() for name, tensor in network.official_state_dict().items()}
    model = ImageBind.from_official(state, SMALL)
    before = model.fingerprint
    with torch.no_grad():
        model.towers["text"].head.proj.weight.mul_(1.01)
    assert not model.fingerprint.matches(before)


def test_without_image_or_text_there_is_none():
    assert ImageBind(SMALL, modalities={"audio"}).fingerprint is None
    assert ImageBind(SMALL, device="meta").fingerprint is None


def test_packed_weights_keep_the_checkpoints(network):
    state = {name: tensor.clone() for name, tensor in network.official_state_dict().items()}
    model = ImageBind.from_official(state, SMALL)
    quantize(model)
    assert model.fingerprint.matches(network.fingerprint)


def test_adapters_on_a_tower_of_the_space_make_another_one(network):
    state = {name: tensor.clone() for name, tensor in network.official_state_dict().items()}
    for tower, is_another in {"text": True, "audio": False}.items():
        model = ImageBind.from_official(state, SMALL)
        model.towers[tower].add_module("adapter", torch.nn.Linear(2, 2))
        assert (model.fingerprint is None) is is_another
        assert is_another or model.fingerprint.matches(network.fingerprint)
