"""What the readers' tests share: goldens, the original's sample files where present, and made-up videos."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"
REPOSITORY = HERE.parents[1]


@pytest.fixture(scope="session")
def golden() -> Path:
    return GOLDEN / "inputs"


@pytest.fixture(scope="session")
def reference() -> Path:
    """Where the original's sample images and sounds are; their license keeps them out of this repository."""
    default = REPOSITORY.parent / "shared" / "reference" / "imagebind"
    folder = Path(os.environ.get("BINDPLUG_REFERENCE", default))
    if not (folder / "assets").is_dir():
        pytest.skip("the original's sample files are not here; set BINDPLUG_REFERENCE to their folder")
    return folder


@pytest.fixture(scope="session")
def torchaudio() -> Iterator[object]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("torchaudio")
        import torchaudio.compliance.kaldi  # noqa: F401
    return module


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


MakeVideo = Callable[..., bytes]


@pytest.fixture(scope="session")
def make_video() -> MakeVideo:
    """``make_video(levels, size=(h, w), fps=10, rotation=0, sound=None)``: an mp4 of flat grey frames."""
    av = pytest.importorskip("av")

    def make(
        levels: list[int] | np.ndarray,
        size: tuple[int, int] = (64, 96),
        fps: int = 10,
        rotation: int = 0,
        sound: np.ndarray | None = None,
        picture: np.ndarray | None = None,
    ) -> bytes:
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mp4") as container:
            track = None
            if len(levels):
                stream = container.add_stream("mpeg4", rate=fps)
                stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
                stream.bit_rate, stream.gop_size = 4_000_000, 10
                if rotation:
                    stream.set_display_rotation(rotation)
            if sound is not None:
                track = container.add_stream("aac", rate=16_000, layout="mono")
            for level in levels:
                pixels = np.full((*size, 3), level, np.uint8) if picture is None else picture
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                container.mux(stream.encode(frame))
            if len(levels):
                container.mux(stream.encode())
            if track is not None:
                for start in range(0, sound.size, 1024):
                    block = av.AudioFrame.from_ndarray(
                        sound[None, start : start + 1024].astype(np.float32), format="fltp", layout="mono"
                    )
                    block.sample_rate, block.pts = 16_000, start
                    block.time_base = Fraction(1, 16_000)
                    container.mux(track.encode(block))
                container.mux(track.encode())
        return buffer.getvalue()

    return make


@pytest.fixture(scope="session")
def make_sound() -> Callable[..., bytes]:
    """``make_sound(samples, rate, form, codec)``: mono float samples in a container of FFmpeg's."""
    av = pytest.importorskip("av")

    def make(samples: np.ndarray, rate: int, form: str, codec: str) -> bytes:
        buffer = io.BytesIO()
        with av.open(buffer, "w", format=form) as container:
            track = container.add_stream(codec, rate=rate, layout="mono")
            convert = av.AudioResampler(format=track.codec_context.format or "fltp", layout="mono", rate=rate)
            whole = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
            whole.sample_rate, whole.pts, whole.time_base = rate, 0, Fraction(1, rate)
            queue = av.AudioFifo()
            for frame in convert.resample(whole):
                queue.write(frame)
            for size in iter(lambda: min(track.codec_context.frame_size or 1024, queue.samples), 0):
                container.mux(track.encode(queue.read(size)))
            container.mux(track.encode())
        return buffer.getvalue()

    return make
