from __future__ import annotations

import contextlib
import io
import os
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from bindplug.errors import CheckpointError, WeightsNotFound
from bindplug_detic.checkpoint import network_from_official, official_zs_weight, read_official
from bindplug_detic.config import DeticConfig
from bindplug_detic.network import DeticNetwork
from tests.detic.golden import keys
from tests.detic.toy import toy_config, toy_network

FREE = re.compile(r"num_batches_tracked|zs_weight|relative_position_index|\.fc\.(weight|bias)$")


def toy_state(backbone: str = "resnet") -> dict[str, torch.Tensor]:
    return dict(toy_network(backbone).state_dict())


@pytest.mark.parametrize(
    ("variant", "config"), [("r50", DeticConfig.resnet50()), ("swinb", DeticConfig.swin_b())]
)
def test_every_official_name_is_a_parameter_or_known_to_be_free(variant: str, config: DeticConfig) -> None:
    with torch.device("meta"):
        ours = {name: list(tensor.shape) for name, tensor in DeticNetwork(config).state_dict().items()}
    official = {name: entry["shape"] for name, entry in keys(variant).items()}
    assert len(official) == {"r50": 406, "swinb": 441}[variant]
    free = {name for name in official if name not in ours}
    assert all(FREE.search(name) for name in free)
    assert ours == {name: shape for name, shape in official.items() if name not in free}


@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".safetensors", ".nested.pth", ".nested.pkl"])
@pytest.mark.parametrize("backbone", ["resnet", "swin"])
def test_every_form_of_file(tmp_path: Path, backbone: str, suffix: str) -> None:
    path, state = tmp_path / f"toy{suffix}", toy_state(backbone)
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    if suffix == ".safetensors":
        save_file(state, path)
    elif suffix.endswith(".pth"):
        torch.save({"model": state, "iteration": 7, "optimizer": {}} if "nested" in suffix else state, path)
    else:
        nested = {"model": OrderedDict(arrays), "__author__": "nobody", "matching_heuristics": True}
        path.write_bytes(pickle.dumps(nested if "nested" in suffix else arrays, protocol=2))
    network = network_from_official(path, toy_config(backbone))
    assert not network.training
    tensors = network.state_dict()
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in state.items())


@given(
    protocol=st.integers(0, 5),
    dtype=st.sampled_from(["<f4", ">f4", "<f2", "<f8", "<i8", "|b1", ">i4"]),
    fortran=st.booleans(),
    shape=st.lists(st.integers(0, 4), max_size=3),
)
def test_arrays_of_every_protocol(
    tmp_path_factory: pytest.TempPathFactory, protocol: int, dtype: str, fortran: bool, shape: list[int]
) -> None:
    rng = np.random.default_rng(0)
    array = np.asarray(rng.integers(0, 2, shape)).astype(dtype, order="F" if fortran else "C")
    path = tmp_path_factory.getbasetemp() / "arrays.pkl"
    path.write_bytes(pickle.dumps({"a": array, "b": np.float32(2.5)}, protocol=protocol))
    tensors = read_official(path)
    assert tensors["a"].shape == array.shape
    assert tensors["a"].tolist() == array.tolist()
    assert tensors["b"].item() == 2.5


class Evil:
    """Runs a command when it is unpickled by anyone careless."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (Evil(os.mkdir, "CANARY"), "mkdir"),
        ({"model": {"a": Evil(eval, "1 + 1")}}, "eval"),
        ({"a": Evil(getattr, "", "join")}, "getattr"),
        ({"a": torch.zeros(1)}, "torch"),
        ({"a": slice(1)}, "slice"),
        ({"a": Evil(np.load, "CANARY")}, "load"),
        ({"a": Evil(io.BytesIO, b"")}, "BytesIO"),
    ],
)
def test_nothing_but_arrays_is_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(CheckpointError, match=rf"{named}.*refused"):
        read_official("evil.pkl")
    assert not (tmp_path / "CANARY").exists()


def test_code_in_a_pth_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Evil(os.mkdir, "CANARY")}, "evil.pth")
    with pytest.raises(CheckpointError, match="refused"):
        read_official("evil.pth")
    assert not (tmp_path / "CANARY").exists()


def test_other_refusals_of_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "odd.pkl"

    class Referring(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return "elsewhere" if obj == "x" else None

    with path.open("wb") as file:
        Referring(file).dump({"a": "x"})
    with pytest.raises(CheckpointError, match="outside the file"):
        read_official(path)
    # bytes as protocol 2 carries them, but in a code page of the sender's choice
    path.write_bytes(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.")
    with pytest.raises(CheckpointError, match="Latin-1"):
        read_official(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"not a checkpoint at all", "damaged"),
        (pickle.dumps([1, 2]), "holds no weights"),
        (pickle.dumps({}), "holds no weights"),
        (pickle.dumps({"a": "text"}), "a holds a str"),
        (pickle.dumps({"a": np.array(["x"])}), "an array of <U1"),
        (pickle.dumps({"a": np.array([None], dtype=object)}), "an array of object"),
        (pickle.dumps({3: np.zeros(1)}), "names a tensor 3"),
        (pickle.dumps({"a": np.zeros(1000)})[:-500], "damaged"),
    ],
)
def test_files_that_hold_no_weights(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=reason):
        read_official(path)


def test_damaged_archives_and_absent_files(tmp_path: Path) -> None:
    path = tmp_path / "toy.pth"
    torch.save(toy_state(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"damaged|cannot be read"):
        read_official(path)
    torch.save(toy_state(), path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"before 1\.6"):
        read_official(path)
    with pytest.raises(WeightsNotFound, match="no checkpoint at"):
        read_official(tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match="is a directory"):
        read_official(tmp_path)


@given(data=st.binary(max_size=200))
def test_no_bytes_crash_the_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.pkl"
    path.write_bytes(b"\x80\x02" + data)
    with contextlib.suppress(CheckpointError):
        read_official(path)


def test_every_name_is_accounted_for() -> None:
    config, state = toy_config(), toy_state()
    stem = "backbone.bottom_up.base.conv1.weight"
    with pytest.raises(CheckpointError, match=f"1 missing: {stem}"):
        network_from_official({name: value for name, value in state.items() if name != stem}, config)
    with pytest.raises(CheckpointError, match=r"1 unexpected: head\.weight"):
        network_from_official(state | {"head.weight": torch.zeros(1)}, config)
    with pytest.raises(CheckpointError, match=r"of another shape: .*conv1\.weight \(8,\)"):
        network_from_official(state | {stem: torch.zeros(8)}, config)
    with pytest.raises(CheckpointError, match=f"not finite: {stem}"):
        network_from_official(state | {stem: state[stem] / 0}, config)
    with pytest.raises(CheckpointError, match="neither"):
        network_from_official({"a": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="of another shape"):
        network_from_official(state)


def test_what_may_be_there_or_not() -> None:
    extra = {
        "backbone.bottom_up.base.bn1.num_batches_tracked": torch.tensor(3),
        "backbone.bottom_up.base.fc.weight": torch.zeros(5, 256),
        "backbone.bottom_up.base.fc.bias": torch.zeros(5),
        "roi_heads.box_predictor.1.cls_score.zs_weight": torch.zeros(16, 9),
    }
    network_from_official(toy_state() | extra, toy_config())


def test_counters_of_trained_norms_are_kept() -> None:
    config, state = toy_config(norm="batch"), dict(toy_network(norm="batch").state_dict())
    name = "backbone.bottom_up.base.bn1.num_batches_tracked"
    kept = network_from_official(state | {name: torch.tensor(5)}, config)
    assert kept.state_dict()[name] == 5
    without = {key: value for key, value in state.items() if "num_batches" not in key}
    assert network_from_official(without, config).state_dict()[name] == 0


def test_a_stored_index_must_be_that_of_the_window() -> None:
    config, state = toy_config("swin"), toy_state("swin")
    name = "backbone.bottom_up.layers.0.blocks.0.attn.relative_position_index"
    y, x = np.divmod(np.arange(49), 7)
    index = torch.from_numpy((y[:, None] - y + 6) * 13 + x[:, None] - x + 6)
    network_from_official(state | {name: index}, config)
    with pytest.raises(CheckpointError, match="windows of 7"):
        network_from_official(state | {name: index.T.contiguous()}, config)


def test_shipped_class_vectors() -> None:
    name = "roi_heads.box_predictor.0.cls_score.zs_weight"
    columns = torch.nn.functional.normalize(torch.randn(16, 5), dim=0)
    columns[:, -1] = 0
    rows = official_zs_weight({name: columns})
    assert rows.shape == (4, 16)
    assert torch.allclose(rows, columns[:, :4].T)
    with pytest.raises(CheckpointError, match="background"):
        official_zs_weight({name: torch.ones(16, 5)})
    with pytest.raises(CheckpointError, match="no class vectors"):
        official_zs_weight({})


def test_checkpoints_with_frequencies_of_classes() -> None:
    """Fifteen of Detic's twenty CenterNet2 configurations register them."""
    state = dict(toy_network("resnet", "frozen_batch").state_dict())
    extra = {f"roi_heads.box_predictor.{k}.freq_weight": torch.rand(1203) for k in range(3)}
    loaded = network_from_official({**state, **extra}, toy_config())
    assert loaded.state_dict().keys() == state.keys()
