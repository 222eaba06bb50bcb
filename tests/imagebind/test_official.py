"""Official checkpoints: every name accounted for, only asked-for towers read, bad files refused."""

from __future__ import annotations

import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bindplug.errors import CheckpointError, WeightsNotFound
from bindplug.imagebind import ImageBind, ImageBindConfig, checkpoint_files, infer_config, read_official
from bindplug.imagebind.checkpoint_files import open_official
from bindplug.imagebind.official_names import TEXT_MASK, expected_shapes
from bindplug.space import IMAGEBIND_SPACE
from tests.imagebind.synthetic import golden_input, load_golden

State = dict[str, torch.Tensor]
AUDIO_NORM = "modality_heads.audio.0.weight"


@pytest.fixture
def pth(tmp_path: Path, tiny_state: State) -> Path:
    path = tmp_path / "tiny.pth"
    torch.save(tiny_state, path)
    return path


def load(source: object, config: ImageBindConfig, **options: object) -> ImageBind:
    return ImageBind.from_official(source, config, **options)  # type: ignore[arg-type]


def test_export_is_bit_equal(tiny_state: State, tiny_config: ImageBindConfig, pth: Path) -> None:
    for source in (tiny_state, pth, str(pth)):
        exported = load(source, tiny_config).official_state_dict()
        assert exported.keys() == tiny_state.keys()
        for name, tensor in tiny_state.items():
            assert torch.equal(exported[name], tensor), name
            assert exported[name].dtype == tensor.dtype
    assert TEXT_MASK in exported


def test_file_and_state_dict_give_the_same_numbers(
    tiny: ImageBind, tiny_config: ImageBindConfig, pth: Path
) -> None:
    x = golden_input("audio", load_golden("golden_tiny.npz"))
    model = load(pth, tiny_config)
    assert not model.training
    with torch.inference_mode():
        assert torch.equal(model({"audio": x})["audio"], tiny({"audio": x})["audio"])


@pytest.mark.parametrize("modality", ["image", "text", "audio", "depth", "thermal", "imu"])
def test_one_tower_alone(modality: str, tiny: ImageBind, tiny_config: ImageBindConfig, pth: Path) -> None:
    model = load(pth, tiny_config, modalities={modality})
    tower = "vision" if modality == "image" else modality
    assert list(model.towers) == [tower]
    assert all(name.split(".")[1] == tower for name in model.official_state_dict())
    x = golden_input(tower, load_golden("golden_tiny.npz"))
    with torch.inference_mode():
        assert torch.equal(model({tower: x})[tower], tiny({tower: x})[tower])
    assert float(model.logit_scale.detach()) == float(tiny.logit_scale.detach())


def test_only_asked_for_towers_are_converted(
    pth: Path, tiny_config: ImageBindConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = checkpoint_files._checksum
    monkeypatch.setattr(checkpoint_files, "_checksum", lambda t: sizes.append(t.numel()) or real(t))
    model = load(pth, tiny_config, modalities={"imu"})
    assert sum(sizes) <= sum(t.numel() for t in model.state_dict().values()) + 1


def test_dtype_is_honoured_but_scales_stay_exact(pth: Path, tiny_config: ImageBindConfig) -> None:
    model = load(pth, tiny_config, dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert model.logit_scale.dtype == torch.float32
    assert model.scale_of("audio") == pytest.approx(20, rel=1e-6)
    assert load(pth, tiny_config, device="meta").device.type == "meta"


def test_training_changes_neither_file_nor_callers_tensors(
    pth: Path, tiny_state: State, tiny_config: ImageBindConfig
) -> None:
    before = pth.read_bytes()
    own = {name: tensor.clone() for name, tensor in tiny_state.items()}
    for source in (pth, own):
        model = load(source, tiny_config)
        assert all(parameter.requires_grad for parameter in model.parameters())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1.0)
    assert pth.read_bytes() == before
    assert all(torch.equal(own[name], tensor) for name, tensor in tiny_state.items())


def test_safetensors_is_read_too(tmp_path: Path, tiny_state: State, tiny_config: ImageBindConfig) -> None:
    path = tmp_path / "tiny.safetensors"
    save_file(tiny_state, path)
    exported = load(path, tiny_config).official_state_dict()
    assert all(torch.equal(exported[name], tensor) for name, tensor in tiny_state.items())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load(path, tiny_config)


def test_load_official_copies_into_a_model(tiny_state: State, tiny_config: ImageBindConfig) -> None:
    model = ImageBind(tiny_config)
    model.load_official(tiny_state)
    assert all(torch.equal(t, tiny_state[n]) for n, t in model.official_state_dict().items())
    with pytest.raises(CheckpointError, match=r"1 missing: modality_heads\.audio\.0\.weight"):
        model.load_official({n: t for n, t in tiny_state.items() if n != AUDIO_NORM})


def test_read_official_gives_one_towers_tensors(
    pth: Path, tiny_config: ImageBindConfig, tiny_state: State
) -> None:
    read = read_official(pth, {"depth"}, tiny_config)
    assert read.keys() == {name for name in tiny_state if name.split(".")[1] == "depth"}


# Names and shapes


def test_missing_unexpected_and_wrong_shapes_are_all_listed(
    tiny_state: State, tiny_config: ImageBindConfig
) -> None:
    state = dict(tiny_state)
    del state[AUDIO_NORM]
    state["modality_trunks.audio.blocks.9.norm_1.weight"] = torch.zeros(48)
    state["modality_heads.imu.3.weight"] = torch.zeros(32, 31)
    with pytest.raises(CheckpointError) as caught:
        load(state, tiny_config)
    message = str(caught.value)
    assert f"1 missing: {AUDIO_NORM}" in message
    assert "1 unexpected: modality_trunks.audio.blocks.9.norm_1.weight" in message
    assert "modality_heads.imu.3.weight is [32, 31], expected [32, 32]" in message


def test_every_single_name_is_needed(tiny_state: State, tiny_config: ImageBindConfig) -> None:
    for missing in tiny_state:
        with pytest.raises(CheckpointError) as caught:
            load({name: tensor for name, tensor in tiny_state.items() if name != missing}, tiny_config)
        assert missing in str(caught.value)


def test_a_partial_checkpoint_is_refused_unless_only_its_towers_are_asked_for(
    tiny_state: State, tiny_config: ImageBindConfig
) -> None:
    partial = {name: tensor for name, tensor in tiny_state.items() if name.split(".")[1] in ("audio", "imu")}
    assert load(partial, tiny_config, modalities={"audio"}).modalities == ("audio",)
    with pytest.raises(CheckpointError, match="nothing of the towers vision, text, depth, thermal"):
        load(partial, tiny_config)


def test_other_networks_are_refused(tiny_config: ImageBindConfig, tiny_state: State) -> None:
    with pytest.raises(CheckpointError, match=r"not an ImageBind state dict: it holds 'conv1\.weight'"):
        load({"conv1.weight": torch.zeros(1)}, tiny_config)
    with pytest.raises(CheckpointError, match="holds nothing"):
        load({}, tiny_config)
    with pytest.raises(CheckpointError, match=r"holds a dict"):
        load({"model": tiny_state}, tiny_config)
    with pytest.raises(CheckpointError, match=r"1 not floating-point: .* torch.int64"):
        load(tiny_state | {AUDIO_NORM: torch.zeros(48, dtype=torch.long)}, tiny_config)


def test_a_mask_that_is_not_causal_is_refused(tiny_state: State, tiny_config: ImageBindConfig) -> None:
    with pytest.raises(CheckpointError, match="not a causal mask"):
        load(tiny_state | {TEXT_MASK: torch.zeros(77, 77)}, tiny_config)


# Files


def test_absent_empty_and_foreign_files(tmp_path: Path, tiny_config: ImageBindConfig) -> None:
    with pytest.raises(WeightsNotFound, match="no checkpoint at"):
        load(tmp_path / "absent.pth", tiny_config)
    with pytest.raises(CheckpointError, match="is a directory"):
        load(tmp_path, tiny_config)
    file = tmp_path / "x.pth"
    for content, message in (
        (b"", "is empty"),
        (b"<html>", "not a PyTorch checkpoint"),
        (b"PK\x03\x04zz", "truncated"),
    ):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            load(file, tiny_config)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match=r"no data\.pkl"):
        load(file, tiny_config)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.99])
def test_truncated_files(pth: Path, tiny_config: ImageBindConfig, fraction: float) -> None:
    content = pth.read_bytes()
    pth.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(CheckpointError, match="truncated"):
        load(pth, tiny_config)


def test_legacy_files(tmp_path: Path, tiny_state: State, tiny_config: ImageBindConfig) -> None:
    path = tmp_path / "old.pth"
    torch.save(tiny_state, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"format from before 1\.6"):
        load(path, tiny_config)


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.marker),))


def test_pickled_code_is_refused_and_never_runs(
    tmp_path: Path, tiny_state: State, tiny_config: ImageBindConfig
) -> None:
    marker, path = tmp_path / "ran", tmp_path / "evil.pth"
    torch.save(tiny_state | {"x": Malicious(marker)}, path)
    with pytest.raises(CheckpointError, match="pickled code"):
        load(path, tiny_config)
    bare = tmp_path / "evil.pkl"
    bare.write_bytes(pickle.dumps(Malicious(marker)))
    with pytest.raises(CheckpointError, match="not a PyTorch checkpoint"):
        load(bare, tiny_config)
    assert not marker.exists()


def test_objects_that_are_no_state_dict(tmp_path: Path, tiny_config: ImageBindConfig) -> None:
    path = tmp_path / "x.pth"
    for content, message in (([1, 2], "holds a list"), ({"epoch": 3}, "'epoch' holds a int")):
        torch.save(content, path)
        with pytest.raises(CheckpointError, match=message):
            load(path, tiny_config)


def test_a_flipped_byte_in_a_tensor_is_found_and_named(
    pth: Path, tiny_config: ImageBindConfig, tiny_state: State
) -> None:
    content = bytearray(pth.read_bytes())
    position = content.index(tiny_state[AUDIO_NORM].numpy().tobytes())
    content[position] ^= 1
    pth.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"damaged; 1 not as written: {AUDIO_NORM}"):
        load(pth, tiny_config)
    assert load(pth, tiny_config, modalities={"text"}).modalities == ("text",)


def test_a_flipped_byte_in_the_index_is_found(pth: Path, tiny_config: ImageBindConfig) -> None:
    content = bytearray(pth.read_bytes())
    content[content.index(b"modality_heads.audio.0.weight")] ^= 1
    pth.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load(pth, tiny_config)


def test_files_are_mapped_not_read(pth: Path) -> None:
    state = open_official(pth)
    assert len(state) == 211
    with torch.no_grad():
        state[AUDIO_NORM].add_(1)  # a private mapping: the file stays as it is
    assert not torch.equal(open_official(pth)[AUDIO_NORM], state[AUDIO_NORM])


# Shapes that tell the config


def test_the_published_shape_is_recognised() -> None:
    huge = ImageBindConfig.huge()
    assert infer_config(expected_shapes(huge)) == huge
    audio = {name: shape for name, shape in expected_shapes(huge).items() if ".audio." in name}
    assert infer_config(audio) == huge


def test_other_patches_are_read_from_shapes() -> None:
    huge = ImageBindConfig.huge()
    other = replace(
        huge,
        vision=replace(huge.vision, kernel=(2, 28, 28), stride=()),
        audio=replace(huge.audio, stride=(16, 16)),
        imu=replace(huge.imu, kernel=(20,), stride=()),
        depth=replace(huge.depth, kernel=(32, 32), stride=()),
    )
    assert infer_config(expected_shapes(other)) == other


def test_heads_are_not_guessed(tiny_state: State) -> None:
    with pytest.raises(CheckpointError, match=r"width 64 and 2 blocks.*pass the network's config"):
        ImageBind.from_official(tiny_state)


def test_damage_to_a_published_checkpoint_is_named_without_a_config() -> None:
    huge = ImageBindConfig.huge()
    state = {n: torch.empty(s, device="meta") for n, s in expected_shapes(huge).items()}
    state["modality_trunks.audio.blocks.3.mlp.fc1.bias"] = torch.empty(5, device="meta")
    del state["modality_heads.text.proj.1.weight"]
    with pytest.raises(CheckpointError) as caught:
        ImageBind.from_official(state)
    assert "missing: modality_heads.text.proj.1.weight" in str(caught.value)
    assert "modality_trunks.audio.blocks.3.mlp.fc1.bias is [5], expected [3072]" in str(caught.value)


def test_spaces_of_other_networks_are_told_apart(tiny_state: State, tiny_config: ImageBindConfig) -> None:
    first = load(tiny_state, tiny_config).embedding_space
    name = "modality_heads.text.proj.1.weight"
    second = load(tiny_state | {name: tiny_state[name] + 1}, tiny_config).embedding_space
    assert first.name != IMAGEBIND_SPACE.name
    assert not first.matches(second)
    assert first.matches(load(tiny_state, tiny_config, modalities={"audio"}).embedding_space)


# Query, key and value: one tensor in the checkpoint, three in the model


def test_projections_are_views_of_the_mapped_tensor_and_join_without_a_copy(
    pth: Path, tiny_config: ImageBindConfig
) -> None:
    model = load(pth, tiny_config, modalities={"depth"})
    attention = model.towers["depth"].blocks[0].attn
    storages = {layer.weight.untyped_storage().data_ptr() for layer in (attention.q_proj, attention.k_proj)}
    assert len(storages) == 1
    joined = model.official_state_dict()["modality_trunks.depth.blocks.0.attn.in_proj_weight"]
    assert joined.data_ptr() == attention.q_proj.weight.data_ptr()
    assert torch.equal(joined[-len(attention.v_proj.weight) :], attention.v_proj.weight)


def test_projections_apart_in_memory_are_joined_too(tiny_state: State, tiny_config: ImageBindConfig) -> None:
    model = load(tiny_state, tiny_config)
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    exported = model.official_state_dict()
    assert all(torch.equal(exported[name], tensor) for name, tensor in tiny_state.items())


def test_adapters_have_no_place_in_an_official_checkpoint(
    tiny_state: State, tiny_config: ImageBindConfig
) -> None:
    model = load(tiny_state, tiny_config, modalities={"imu"})
    attention = model.towers["imu"].blocks[0].attn
    attention.q_proj = torch.nn.Sequential(attention.q_proj)
    with pytest.raises(
        CheckpointError, match=r"such as towers\.imu\.blocks\.0\.attn\.q_proj\.0\.weight.*Merge"
    ):
        model.official_state_dict()


def test_pickles_hold_every_weight_once(pth: Path, tiny_config: ImageBindConfig) -> None:
    model = load(pth, tiny_config, modalities={"depth"})
    weights = sum(parameter.nbytes for parameter in model.parameters())
    pickled = pickle.dumps(model)
    assert len(pickled) < 1.1 * weights + 50_000
    attention = model.towers["depth"].blocks[0].attn
    assert attention.q_proj.weight.untyped_storage().nbytes() == 3 * attention.q_proj.weight.nbytes, (
        "a view still"
    )
    twin = pickle.loads(pickled).towers["depth"].blocks[0].attn
    assert twin.q_proj.weight.untyped_storage().nbytes() == twin.q_proj.weight.nbytes
    assert torch.equal(twin.v_proj.bias, attention.v_proj.bias)
