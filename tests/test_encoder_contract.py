"""Our own encoders, and the fake one, keep the contract of encoders."""

from __future__ import annotations

import numpy as np
from PIL import Image

import bindplug
from bindplug import audio, depth, image, imu, text, thermal, video
from bindplug.testing import EncoderContract, FakeEncoder

NOISE = np.random.default_rng(0)


def pictures(count=2, height=40, width=50):
    return [NOISE.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def sounds(rate, seconds=0.5, count=2):
    return [
        audio((NOISE.standard_normal(int(rate * seconds)) * 0.1).astype(np.float32), sample_rate=rate)
        for _ in range(count)
    ]


def videos(frames=4, count=2):
    return [video(np.stack(pictures(frames)), fps=2) for _ in range(count)]


class TestImageBindTiny(EncoderContract):
    def make_encoder(self):
        return bindplug.load("imagebind_tiny")

    def make_queries(self):
        maps = [NOISE.uniform(0.5, 5, (48, 48)).astype(np.float32) for _ in range(2)]
        heat = [Image.fromarray((NOISE.random((48, 48)) * 255).astype(np.uint8)) for _ in range(2)]
        motions = [NOISE.standard_normal((6, 1000)).astype(np.float32) for _ in range(2)]
        return {
            "image": [image(picture) for picture in pictures()],
            "video": videos(),
            "text": [text("a dog"), text("a red car")],
            "audio": sounds(16_000),
            "depth": [depth(map_, unit="m") for map_ in maps],
            "thermal": [thermal(picture) for picture in heat],
            "imu": [imu(motion, sample_rate=200, acc_unit="m/s2", gyro_unit="rad/s") for motion in motions],
        }


class TestFake(EncoderContract):
    reads_files = False

    def make_encoder(self):
        return FakeEncoder()

    def make_queries(self):
        makers = (image, video, text, audio, depth, thermal, imu)
        return {make.__name__: [make(f"{make.__name__} {i}") for i in range(2)] for make in makers}
