"""Model directories and checkpoints in which anything is wrong: one kind of error leaves, with the file's name."""

import contextlib
import itertools
import json
import struct
import zipfile

import pytest
import torch

from bindplug.errors import BindplugError, CheckpointError
from bindplug.imagebind import ImageBind, load_directory, save_directory
from bindplug.imagebind.sidecar import read_sidecar, write_sidecar
from tests.small import SMALL

STRANGE = (None, True, -1, 0, 1e400, float("nan"), "x", "9" * 5000, [], {}, [[]], {"a": {}}, 2**70, 10**9, 3)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    model = ImageBind(SMALL).eval()
    model.centers = {"text": torch.zeros(16), "image": torch.ones(16)}
    return model


@pytest.fixture
def directory(network, tmp_path):
    return save_directory(network, tmp_path / "model")


def places(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def altered(whole, path, value):
    content = json.loads(whole)
    holder = content
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return json.dumps(content)


def test_whatever_stands_in_a_manifest_only_a_named_error_leaves(directory):
    file = directory / "config.json"
    whole = file.read_text()
    changes = list(itertools.product(places(json.loads(whole)), STRANGE))
    assert len(changes) > 1000
    for path, value in changes[::4]:  # the kinds of values stand in for each place in turn
        file.write_text(altered(whole, path, value))
        with contextlib.suppress(CheckpointError):
            load_directory(directory, modalities={"imu"})


@pytest.mark.parametrize(
    "content",
    ["", "{", "[" * 100_000, '{"format": "bindplug-imagebind", "format_version": 1}', "null", "\x00"],
)
def test_a_manifest_that_is_none_is_named(directory, content):
    (directory / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_directory(directory)


def test_a_scale_that_is_no_number_is_refused(network, tmp_path, directory):
    state = {name: tensor.clone() for name, tensor in network.official_state_dict().items()}
    for name in [name for name in state if name.endswith("log_logit_scale")]:
        for value in (float("nan"), float("inf")):
            with pytest.raises(CheckpointError, match="not a finite number"):
                ImageBind.from_official(state | {name: torch.full_like(state[name], value)}, SMALL)
    manifest = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(manifest | {"logit_scale": float("nan")}))
    with pytest.raises(CheckpointError, match="logit_scale"):
        load_directory(directory, modalities={"audio"})


def test_a_damaged_sidecar_is_named(network, tmp_path):
    file = write_sidecar(network, tmp_path / "w.pth")
    whole = file.read_text()
    for path in places(json.loads(whole)):
        for value in STRANGE:
            file.write_text(altered(whole, path, value))
            with contextlib.suppress(CheckpointError):
                read_sidecar(tmp_path / "w.pth")
    for content in ("[" * 100_000, "{", "null"):
        file.write_text(content)
        with pytest.raises(CheckpointError, match=r"w\.config\.json"):
            read_sidecar(tmp_path / "w.pth")


@pytest.fixture
def archive(network, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(network.official_state_dict(), path)
    return path


def rewritten(archive, change, compression=zipfile.ZIP_STORED):
    """The archive with some of its records changed: name -> new content, or None to drop the record."""
    with zipfile.ZipFile(archive) as file:
        records = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(archive, "w", compression) as file:
        for name, content in records.items():
            content = change(name, content)
            if content is not None:
                file.writestr(name, content)


def encrypted(data):
    """The archive with the encryption flag set on every record."""
    data = bytearray(data)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(signature)
        while start >= 0:
            data[start + offset] |= 1
            start = data.find(signature, start + 4)
    return bytes(data)


def with_method(data):
    """The archive whose directory claims an unknown compression method."""
    data = bytearray(data)
    start = data.find(b"PK\x01\x02")
    while start >= 0:
        data[start + 10 : start + 12] = struct.pack("<H", 77)
        start = data.find(b"PK\x01\x02", start + 4)
    return bytes(data)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_named(network, tmp_path, value):
    state = {name: tensor.clone() for name, tensor in network.official_state_dict().items()}
    name = "modality_trunks.imu.blocks.0.mlp.fc1.weight"
    state[name][3, 2] = value
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=rf"w\.pth is damaged; 1 not finite: {name}"):
        ImageBind.from_official(tmp_path / "w.pth", SMALL)
    assert ImageBind.from_official(tmp_path / "w.pth", SMALL, modalities={"audio"}).modalities == ("audio",)


@pytest.mark.parametrize(
    "damage",
    [
        encrypted,
        with_method,
        lambda data: data[: len(data) // 2],
        lambda data: data[:-10],
        lambda data: data[1000:],
        lambda data: b"",
        lambda data: data.replace(b"data.pkl", b"gone.pkl"),
        lambda data: data.replace(b"ctorch", b"cposix").replace(b"_rebuild_tensor_v2", b"systemsystemsystem"),
        lambda data: data.replace(b"FloatStorage", b"GloatStorage"),
    ],
)
def test_damaged_archives_are_named(archive, damage):
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(CheckpointError, match=r"w\.pth"):
        ImageBind.from_official(archive, SMALL)


@pytest.mark.parametrize(
    ("change", "compression"),
    [
        (lambda name, content: content, zipfile.ZIP_DEFLATED),
        (lambda name, content: None if name.endswith("data/3") else content, zipfile.ZIP_STORED),
        (lambda name, content: content[:8] if "/data/" in name else content, zipfile.ZIP_STORED),
        (lambda name, content: b"\x80\x02]." if name.endswith("data.pkl") else content, zipfile.ZIP_STORED),
        (lambda name, content: b"" if name.endswith("data.pkl") else content, zipfile.ZIP_STORED),
        (lambda name, content: b"(" * 200_000 if name.endswith("data.pkl") else content, zipfile.ZIP_STORED),
        (
            lambda name, content: b"\0" * (70 << 20) if name.endswith("data.pkl") else content,
            zipfile.ZIP_DEFLATED,
        ),
    ],
)
def test_archives_that_torch_did_not_write_are_named(archive, change, compression):
    rewritten(archive, change, compression)
    with pytest.raises(CheckpointError, match=r"w\.pth"):
        ImageBind.from_official(archive, SMALL)


def test_every_byte_of_an_archives_index_may_be_wrong(archive):
    whole = archive.read_bytes()
    start = whole.index(b"data.pkl")
    for offset in range(start, start + 4000, 37):
        archive.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0xA5]) + whole[offset + 1 :])
        with contextlib.suppress(BindplugError):
            ImageBind.from_official(archive, SMALL, modalities={"imu"})
