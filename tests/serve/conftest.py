"""One server of the embedded model for all tests, and small files of every kind as bytes."""

from __future__ import annotations

import io
import wave

import httpx
import numpy as np
import pytest
from PIL import Image

import bindplug
from tests.command_process import serving
from tests.serve.running import wait_until_ready


@pytest.fixture(scope="session")
def url():
    """Address of ``bindplug serve`` with a detector and MCP."""
    with serving("serve", "--detector", "toy_detic", "--mcp", "http", "--quiet") as (_, address):
        wait_until_ready(address)
        yield address


@pytest.fixture
def client(url):
    # without certificates, which take longer to load than most tests
    with httpx.Client(base_url=url, timeout=60, verify=False) as client:
        yield client


@pytest.fixture(scope="session")
def model():
    """The same model in this process."""
    return bindplug.load("imagebind_tiny")


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def wave_of(samples):
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return sound.getvalue()


@pytest.fixture(scope="session")
def files():
    """A readable file of every sensor."""
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 255, (32, 48, 3), dtype=np.uint8)) for _ in range(4)]
    video = io.BytesIO()
    frames[0].save(video, "GIF", save_all=True, append_images=frames[1:], duration=500)
    thermal = io.BytesIO()
    Image.fromarray(rng.integers(28000, 31000, (48, 64), dtype=np.uint16)).save(thermal, "TIFF")
    rest = np.array([0, 0, 9.8, 0, 0, 0])
    rows = [[i / 200, *(rest + rng.normal(0, 1, 6)).round(4)] for i in range(1000)]
    lines = ["timestamp_s,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z", *(",".join(map(str, row)) for row in rows)]
    return {
        "image": png(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)),
        "video": video.getvalue(),
        "audio": wave_of(rng.normal(0, 0.1, 16000)),
        "depth": png(rng.integers(500, 4000, (48, 64), dtype=np.uint16)),
        "thermal": thermal.getvalue(),
        "imu": "\n".join(lines).encode(),
    }
