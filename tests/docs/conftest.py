"""A directory with the files that the pages name, made of scenes of the toy world."""

import shutil
from pathlib import Path

import pytest

from bindplug_toyworld import Scene
from bindplug_toyworld.files import write_imu, write_video, write_wav

SOUNDS = {
    "bark": "dog", "bell": "bell", "rain": "rain", "waves": "boat", "fire": "fire", "siren": "ambulance",
    "what": "train",
}  # fmt: skip
PICTURES = {
    "meadow.png": ("cow",), "dog.jpg": ("dog",), "crane.jpg": ("bird",), "a.png": ("dog",), "photo.jpg": ("cat",),
    "street.png": ("dog", "bicycle", "train"), "quiet.png": ("bell", "frog"),
}  # fmt: skip


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Made once; tests work in copies."""
    directory = tmp_path_factory.mktemp("files")
    for seed, (name, thing) in enumerate(SOUNDS.items(), start=100):
        scene = Scene(seed, "eval", labels=[thing])
        write_wav(directory / f"{name}.wav", scene.audio, scene.sample_rate_hz)
    for seed, (name, things) in enumerate(PICTURES.items(), start=200):
        canvas = (256, 256) if len(things) > 1 else (224, 224)
        Scene(seed, "eval", labels=things, canvas=canvas).image.save(directory / name)
    _write_sensors(directory)
    for folder, pattern in (("sounds", "*.wav"), ("pictures", "*.jpg")):
        (directory / folder).mkdir()
        for path in sorted(directory.glob(pattern))[:4]:
            shutil.copy(path, directory / folder)
    return directory


def _write_sensors(directory: Path) -> None:
    """Depth, heat, motion and a video, without writing what no page names."""
    scene = Scene(11, "eval", labels=["train"], seconds=2.0, fps=4)
    write_video(directory / "train.mp4", scene.video, scene.fps, scene.audio, scene.sample_rate_hz)
    write_imu(directory / "ride.csv", scene.imu, scene.imu_rate_hz)
    _save_sixteen_bit(directory / "sofa.png", scene.depth * 400)  # brought to the distances of a room
    _save_sixteen_bit(directory / "what.png", scene.depth * 400)
    _save_sixteen_bit(directory / "heat.tiff", (scene.thermal + 273.15) * 100)


def _save_sixteen_bit(path: Path, values) -> None:
    from PIL import Image

    Image.fromarray(values.round().astype("uint16")).save(path)


@pytest.fixture
def at_desk(files, tmp_path, monkeypatch):
    """The working directory is a fresh copy of the files; no weights but the bundled ones, no network."""
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for variable in ("BINDPLUG_HOME", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("BINDPLUG_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path
