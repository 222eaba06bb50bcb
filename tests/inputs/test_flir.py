"""Radiometric FLIR files, synthesized: temperatures to counts by the measurement formula, and read back."""

from __future__ import annotations

import contextlib
import io
import math
import struct

import numpy as np
import pytest
from PIL import Image

from bindplug.errors import InputError
from bindplug.inputs import ImagePreprocess, ThermalPreprocess
from bindplug.inputs.flir import read_radiometric

preprocess = ThermalPreprocess()
ROWS, COLUMNS = np.mgrid[:60, :80]
SCENE_C = 15 + 0.2 * ROWS + 0.1 * COLUMNS
PLANCK = {"r1": 16556.0, "b": 1428.0, "f": 1.0, "o": -207, "r2": 0.046952}
AIR = {"emissivity": 0.95, "distance": 1.0, "reflected": 293.15, "atmosphere": 293.15, "window": 293.15,
       "transmission": 1.0, "humidity": 0.5, "alpha1": 0.006569, "alpha2": 0.01262, "beta1": -0.002276,
       "beta2": -0.00667, "x": 1.9}  # fmt: skip
NO_AIR = {**AIR, "emissivity": 1.0, "distance": 0.0}
PALETTE = np.stack([COLUMNS * 3, ROWS * 4, 255 - COLUMNS * 3], -1).astype(np.uint8)


def black_body(celsius):
    """Counts by Planck's law with the camera's constants."""
    return (
        PLANCK["r1"] / (PLANCK["r2"] * (np.exp(PLANCK["b"] / (celsius + 273.15)) - PLANCK["f"])) - PLANCK["o"]
    )


def counts_of(celsius, air):
    """What the sensor stores of an object radiation through air and a window."""
    water = air["humidity"] * math.exp(1.5587 + 0.06939 * 20 - 0.00027816 * 20**2 + 0.00000068455 * 20**3)
    path = math.sqrt(air["distance"])
    tau = air["x"] * math.exp(-path * (air["alpha1"] + air["beta1"] * math.sqrt(water)))
    tau += (1 - air["x"]) * math.exp(-path * (air["alpha2"] + air["beta2"] * math.sqrt(water)))
    e, w = air["emissivity"], air["transmission"]
    radiation = e * tau * black_body(celsius) + (1 - e) * tau * black_body(air["reflected"] - 273.15)
    radiation = radiation + (1 - tau) * black_body(air["atmosphere"] - 273.15)
    return np.round(w * radiation + (1 - w) * black_body(air["window"] - 273.15)).astype(np.uint16)


def camera_record(air, order):
    record = bytearray(0x400)
    struct.pack_into(f"{order}H", record, 0, 2)
    floats = {0x20: "emissivity", 0x24: "distance", 0x28: "reflected", 0x2C: "atmosphere", 0x30: "window",
              0x34: "transmission", 0x3C: "humidity", 0x70: "alpha1", 0x74: "alpha2", 0x78: "beta1", 0x7C: "beta2",
              0x80: "x"}  # fmt: skip
    for offset, key in floats.items():
        struct.pack_into(f"{order}f", record, offset, air[key])
    for offset, key in ((0x58, "r1"), (0x5C, "b"), (0x60, "f"), (0x30C, "r2")):
        struct.pack_into(f"{order}f", record, offset, PLANCK[key])
    struct.pack_into(f"{order}i", record, 0x308, PLANCK["o"])
    return bytes(record)


def raw_record(counts, form, order):
    header = bytearray(32)
    struct.pack_into(f"{order}HHH", header, 0, 2, counts.shape[1], counts.shape[0])
    if form == "raw":
        return bytes(header) + counts.astype(f"{order}u2").tobytes()
    buffer = io.BytesIO()
    Image.fromarray(counts.byteswap() if form == "swapped png" else counts).save(buffer, "PNG")
    return bytes(header) + buffer.getvalue()


def fff(air=AIR, form="swapped png", order="<", scene=SCENE_C, camera=True):
    records = [(1, raw_record(counts_of(scene, air), form, order))]
    records += [(32, camera_record(air, order))] if camera else []
    head = bytearray(64)
    head[:4] = b"FFF\0"
    struct.pack_into(">III", head, 20, 101, 64, len(records))
    directory, bodies, place = b"", b"", 64 + 32 * len(records)
    for kind, body in records:
        directory += struct.pack(">HHIIIIIII", kind, 1, 100, 1, place + len(bodies), len(body), 0, 0, 0)[:32]
        bodies += body
    return bytes(head) + directory + bodies


def jpeg(content, picture=PALETTE, cut=3000, exif=b""):
    """A JPEG in false colors with an FFF file in APP1 segments, which may come in any order."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", exif=exif)
    pieces = [content[start : start + cut] for start in range(0, len(content), cut)]
    segments = []
    for number, piece in enumerate(pieces):
        body = b"FLIR\0\x01" + bytes([number, len(pieces) - 1]) + piece
        segments.append(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
    return buffer.getvalue()[:2] + b"".join(reversed(segments)) + buffer.getvalue()[2:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("form", ["swapped png", "png", "raw"])
@pytest.mark.parametrize(
    "air", [AIR, NO_AIR, {**AIR, "distance": 30.0}, {**AIR, "transmission": 0.8, "window": 310.0}]
)
def test_temperatures(air, form, order):
    data = jpeg(fff(air, form, order))
    assert np.abs(read_radiometric(data) - SCENE_C).max() < 0.05  # a count is about 0.02 degrees
    assert preprocess.read(data).window == pytest.approx(np.percentile(SCENE_C, [1, 99]), abs=0.05)
    expected = preprocess(SCENE_C.astype(np.float32), range=(0, 50))
    assert (preprocess(data, range=(0, 50)) - expected).abs().max() < 0.005


def test_emissivity_counts():
    """Emissivity taken for 1 would make the object colder by more than a tenth of a degree."""
    hot = np.full((60, 80), 120.0) + COLUMNS / 80
    assert np.abs(read_radiometric(jpeg(fff(AIR, scene=hot))) - hot).max() < 0.05
    assert np.abs(read_radiometric(jpeg(fff({**AIR, "emissivity": 0.5}, scene=hot))) - hot).max() < 0.05


def test_fff_file_alone_and_humidity_in_percent(tmp_path):
    path = tmp_path / "heat.fff"
    path.write_bytes(fff())
    assert np.abs(read_radiometric(path) - SCENE_C).max() < 0.05
    percent = fff()
    place = percent.index(struct.pack("<f", 0.5), len(percent) - 0x400)
    percent = percent[:place] + struct.pack("<f", 50.0) + percent[place + 4 :]
    assert np.array_equal(read_radiometric(percent), read_radiometric(path))


def test_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = preprocess.read(jpeg(fff()), range=(0, 50)).values
    turned = preprocess.read(jpeg(fff(), exif=exif.tobytes()), range=(0, 50)).values
    assert np.array_equal(turned, np.rot90(upright, -1))


def test_damage():
    whole = fff()
    for content, message in (
        (whole[:50], "FLIR record"), (whole[:200], "beyond the end"), (fff(camera=False), "no calibration"),
        (b"FFF\0" + bytes(100), None), (b"not FLIR's" * 9, "no FFF header"),
        (fff({**AIR, "emissivity": 0.0}), "out of range"),
    ):  # fmt: skip
        if message is None:
            assert read_radiometric(jpeg(content)) is None
            continue
        with pytest.raises(InputError, match=message):
            preprocess.read(jpeg(content))
    data = bytearray(jpeg(whole, cut=500))
    place = data.index(b"FLIR\0\x01\x01")
    data[place : place + 4] = b"XLIR"
    with pytest.raises(InputError, match=r"\d+ of \d+ segments of FLIR's record.*Copy the file again"):
        preprocess.read(bytes(data))
    rng = np.random.default_rng(2)
    data = bytearray(jpeg(whole))
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(len(data), size=4):
            damaged[place] = rng.integers(256)
        with contextlib.suppress(InputError):
            assert preprocess(bytes(damaged)).isfinite().all()


def test_other_units_and_pictures():
    with pytest.raises(InputError, match=r"read in degrees Celsius.*Leave unit out"):
        preprocess.read(jpeg(fff()), unit="kelvin")
    assert read_radiometric(jpeg(b"")) is None
    assert ImagePreprocess()(jpeg(fff())).isfinite().all()
