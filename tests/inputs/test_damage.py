"""Damaged files of every kind give an InputError or a finite tensor, never another exception."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from bindplug.errors import InputError
from bindplug.inputs import make_preprocess

readers = make_preprocess()
RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (60, 70, 3), dtype=np.uint8)
DEEP = RNG.integers(500, 5000, (60, 70), dtype=np.uint16)
SOUND = (0.1 * RNG.standard_normal(20_000)).astype(np.float32)
TABLE = np.column_stack([np.arange(100) / 100, 9 + RNG.random((100, 3)), RNG.random((100, 3))])
pytestmark = pytest.mark.filterwarnings("ignore::bindplug.errors.InputNote")


def picture(array, form):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form)
    return buffer.getvalue()


def sound(form):
    buffer = io.BytesIO()
    soundfile.write(buffer, SOUND, 16_000, format=form)
    return buffer.getvalue()


def numpy_file(array, write=np.save):
    buffer = io.BytesIO()
    write(buffer, array)
    return buffer.getvalue()


def table():
    lines = ["t,ax,ay,az,gx,gy,gz", *(",".join(f"{value:.4f}" for value in row) for row in TABLE)]
    return "\n".join(lines).encode()


WHOLE = {
    "png": ("image", picture(RGB, "PNG")), "jpeg": ("image", picture(RGB, "JPEG")),
    "tiff": ("image", picture(RGB, "TIFF")),
    "deep png": ("depth", picture(DEEP, "PNG")), "float tiff": ("depth", picture(DEEP / np.float32(1000), "TIFF")),
    "npy": ("depth", numpy_file(DEEP / 1000)), "npz": ("depth", numpy_file(DEEP / 1000, np.savez_compressed)),
    "heat tiff": ("thermal", picture(DEEP, "TIFF")), "heat npy": ("thermal", numpy_file(DEEP / 100)),
    "wav": ("audio", sound("WAV")), "flac": ("audio", sound("FLAC")), "ogg": ("audio", sound("OGG")),
    "csv": ("imu", table()), "gif": ("video", picture(RGB, "GIF")),
}  # fmt: skip


def damaged(data, rng):
    data = bytearray(data)
    if rng.integers(3) == 0:
        return bytes(data[: rng.integers(1, len(data))])
    reach = min(len(data), 200) if rng.integers(2) else len(data)
    for place in rng.integers(reach, size=rng.integers(1, 20)):
        data[place] = rng.integers(256)
    return bytes(data)


@pytest.mark.parametrize("kind", WHOLE)
def test_damage(kind):
    modality, data = WHOLE[kind]
    assert readers[modality](data).isfinite().all()
    rng = np.random.default_rng(11)
    refused = 0
    for _ in range(25):
        try:
            out = readers[modality](damaged(data, rng))
        except InputError:
            refused += 1
        else:
            assert out.isfinite().all()
    assert refused > 0


def test_damaged_video(make_video):
    data = make_video(np.arange(20) * 10)
    rng, refused = np.random.default_rng(12), 0
    for _ in range(25):
        try:
            assert readers["video"](damaged(data, rng)).isfinite().all()
        except InputError:
            refused += 1
    assert refused > 0


def test_numpys_advice_to_unpickle_is_not_passed_on(tmp_path):
    path = tmp_path / "depth.npy"
    path.write_bytes(bytes(256))
    with pytest.raises(InputError, match="never loaded") as caught:
        make_preprocess(["depth"])["depth"](path)
    assert "unsafely" not in str(caught.value)
    assert "allow_pickle" not in str(caught.value)
