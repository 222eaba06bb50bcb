"""What a scene writes reads back as what its sensors measured."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bindplug.errors import InputError
from bindplug_toyworld.files import IMU_HEADER, write_video
from bindplug_toyworld.scene import Scene


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(11, "eval", labels=["boat"], seconds=2.0)


@pytest.fixture(scope="module")
def paths(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return scene.write(tmp_path_factory.mktemp("scene") / "deep" / "er")


def test_all_modalities_are_written(paths: dict[str, Path]) -> None:
    assert sorted(paths) == ["audio", "depth", "image", "imu", "text", "thermal", "video"]
    assert all(path.stat().st_size > 4 for path in paths.values())


def test_pictures_round_trip(scene: Scene, paths: dict[str, Path]) -> None:
    assert np.array_equal(np.asarray(Image.open(paths["image"])), scene.pixels)
    with Image.open(paths["depth"]) as depth, Image.open(paths["thermal"]) as thermal:
        assert depth.mode == thermal.mode == "I;16"
        np.testing.assert_allclose(np.asarray(depth) / 1000, scene.depth, atol=6e-4)
        np.testing.assert_allclose(np.asarray(thermal) / 100 - 273.15, scene.thermal, atol=6e-3)


def test_sound_round_trips(scene: Scene, paths: dict[str, Path]) -> None:
    with wave.open(str(paths["audio"])) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32767
    np.testing.assert_allclose(samples, scene.audio, atol=2e-5)


def test_motion_round_trips(scene: Scene, paths: dict[str, Path]) -> None:
    assert paths["imu"].read_text().splitlines()[0] == IMU_HEADER
    rows = np.loadtxt(paths["imu"], delimiter=",", skiprows=1)
    np.testing.assert_allclose(np.diff(rows[:, 0]), 1 / 200, atol=1e-6)
    np.testing.assert_allclose(rows[:, 1:].T, scene.imu, atol=1e-5)


def test_caption_round_trips(scene: Scene, paths: dict[str, Path]) -> None:
    assert paths["text"].read_text(encoding="utf-8") == scene.caption + "\n"


def test_video_round_trips(scene: Scene, paths: dict[str, Path]) -> None:
    av = pytest.importorskip("av")
    with av.open(str(paths["video"])) as container:
        assert float(container.streams.video[0].average_rate) == scene.fps
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert frames.shape == scene.video.shape == (24, 224, 224, 3)
    assert np.abs(frames.astype(int) - scene.video.astype(int)).mean() < 10
    with av.open(str(paths["video"])) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert len(sound) >= len(scene.audio)
    assert np.abs(sound).max() > 0.05


def test_odd_frames_lose_a_row_and_a_column(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    write_video(tmp_path / "odd.mp4", np.zeros((3, 65, 67, 3), dtype=np.uint8), 12)
    with av.open(str(tmp_path / "odd.mp4")) as container:
        assert (container.streams.video[0].height, container.streams.video[0].width) == (64, 66)


def test_depth_can_have_holes(tmp_path: Path) -> None:
    scene = Scene(2, labels=["dog"], seconds=0.5)
    paths = scene.write(tmp_path, depth_holes=0.2)
    assert "imu" not in paths
    depth = np.asarray(Image.open(paths["depth"]))
    assert 0.1 < (depth == 0).mean() < 0.3
    np.testing.assert_allclose(depth[depth > 0] / 1000, scene.depth[depth > 0], atol=6e-4)
    with pytest.raises(InputError, match="below 1"):
        scene.write(tmp_path, depth_holes=1.0)
