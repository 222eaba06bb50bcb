"""Videos as people have them: longer sound than pictures, cut files, raw streams, animations, colors, stretches."""

from __future__ import annotations

import io
import math
import struct
import warnings
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from bindplug.errors import InputError, InputNote, OptionError
from bindplug.inputs import VideoPreprocess, videofiles
from bindplug.query import video

av = pytest.importorskip("av")
preprocess = VideoPreprocess()


def encode(levels, form, codec="mpeg4", *, sound_s=0, options=None, size=(64, 96), fps=10, gop=10):
    """A video of flat grey frames, in any container, with a tone of its own length."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form, options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.bit_rate, stream.gop_size = 4_000_000, gop
        track = container.add_stream("mp2", rate=16_000, layout="mono") if sound_s else None
        for level in levels:
            pixels = np.full((*size, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
        for start in range(0, int(16_000 * sound_s), 576):
            block = av.AudioFrame.from_ndarray(np.zeros((1, 576), np.int16), format="s16", layout="mono")
            block.sample_rate, block.pts, block.time_base = 16_000, start, Fraction(1, 16_000)
            container.mux(track.encode(block))
        if track:
            container.mux(track.encode())
    return buffer.getvalue()


def levels_of(reading):
    return [int(reading.frames[index].mean().round()) for index in reading.order]


LEVELS = list(range(40, 240, 5))  # 4 s at 10 frames a second
EXPECTED = [40, 135, 60, 155, 80, 175, 100, 195, 120, 215]


@pytest.mark.parametrize("form", ["matroska", "webm", "avi", "mpegts", "mp4", "mov", "asf", "flv"])
def test_sound_that_outlasts_the_pictures_does_not_count(form):
    codec = {"webm": "libvpx", "flv": "flv"}.get(form, "mpeg4")
    sound_s = 0 if form in ("webm", "flv") else 12
    reading = preprocess.read(encode(LEVELS, form, codec, sound_s=sound_s))
    assert reading.duration_s == pytest.approx(4, abs=0.11)
    assert np.abs(np.subtract(levels_of(reading), EXPECTED)).max() <= 6  # neighbors differ by 5


def test_a_fragmented_file_that_was_cut_is_read_as_far_as_it_goes():
    levels = list(range(40, 160))
    data = encode(levels, "mp4", options={"movflags": "frag_keyframe+empty_moov"})
    assert preprocess.read(data).duration_s == pytest.approx(12)
    reading = preprocess.read(data[: len(data) * 6 // 10])
    assert 6 < reading.duration_s < 8
    last = 40 + round(10 * reading.duration_s)
    expected = [40, 59, *levels_of(reading)[2:]]
    assert np.abs(np.subtract(levels_of(reading), expected)).max() <= 2
    assert 40 + 10 * (reading.duration_s - 2) * 0.8 + 18 == pytest.approx(levels_of(reading)[-1], abs=4)
    assert levels_of(reading)[-1] < last


def test_a_cut_file_whose_header_claims_more_is_noted(tmp_path):
    path = tmp_path / "a.mov"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt, stream.gop_size = 64, 96, "yuv420p", 10
        noise = np.random.default_rng(0).integers(0, 255, (120, 64, 96, 3), dtype=np.uint8)
        for pixels in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    data = path.read_bytes()
    with pytest.warns(InputNote, match=r"ends at .* s; its header says 12\.0 s|damaged places"):
        reading = preprocess.read(data[: len(data) * 7 // 10])
    assert np.isfinite(reading.frames).all()


def test_damaged_places_are_passed_over():
    data = bytearray(encode(range(40, 240), "avi", gop=5))
    for place in range(len(data) // 3, len(data) // 3 + 3000):
        data[place] = place * 37 % 256
    try:
        with pytest.warns(InputNote, match="damaged places"):
            reading = preprocess.read(bytes(data))
    except InputError:
        pytest.fail("one damaged stretch must not cost the whole video")
    assert levels_of(reading)[0] == pytest.approx(40, abs=3)


@pytest.mark.parametrize(("form", "codec"), [("h264", "libx264"), ("hevc", "libx265")])
def test_raw_streams_go_by_the_stated_rate(form, codec):
    data = encode(LEVELS, form, codec)
    reading = preprocess.read(data, fps=10)
    assert reading.duration_s == pytest.approx(4)
    assert np.abs(np.subtract(levels_of(reading), EXPECTED)).max() <= 3
    with pytest.warns(InputNote, match="no clock; 25 frames a second"):
        assumed = preprocess.read(data)
    assert assumed.duration_s == pytest.approx(1.6)
    assert preprocess.duration(data, fps=20) == 2


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_animated_pictures_are_videos(form):
    frames = [Image.new("RGB", (96, 64), (level,) * 3) for level in LEVELS]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], duration=100, lossless=True)
    reading = preprocess.read(buffer.getvalue())
    assert reading.frames.shape[1:] == (64, 96, 3)
    assert reading.duration_s == pytest.approx(4)
    assert levels_of(reading) == EXPECTED
    assert preprocess.duration(buffer.getvalue()) == pytest.approx(4)
    middle = preprocess.read(buffer.getvalue(), start=1, end=2, clips=1)
    assert levels_of(middle) == [90, 135]


def test_an_animation_without_delays_takes_a_tenth_of_a_second_a_frame():
    frames = [Image.new("L", (32, 32), level) for level in LEVELS]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert preprocess.duration(buffer.getvalue()) == pytest.approx(4)


@pytest.mark.parametrize("form", ["TIFF", "MPO"])
def test_pages_of_a_picture_are_no_video(form):
    pages = [Image.new("RGB", (32, 32), (level,) * 3) for level in (10, 200)]
    buffer = io.BytesIO()
    pages[0].save(buffer, form, save_all=True, append_images=pages[1:])
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        reading = preprocess.read(buffer.getvalue())
    assert ["the first of 2 pages" in str(note.message) for note in notes] == [True] * (form == "TIFF")
    assert (len(reading.frames), reading.duration_s) == (1, 0)
    assert preprocess.duration(buffer.getvalue()) == 0


BARS = [(200, 40, 40), (40, 180, 60), (50, 60, 220), (220, 210, 40), (30, 200, 200), (128, 128, 128)]


@pytest.mark.parametrize(
    ("space", "red", "blue"),
    [("bt709", 0.2126, 0.0722), ("smpte170m", 0.299, 0.114)],
    ids=["BT.709", "BT.601"],
)
def test_colors_follow_the_matrix_that_the_file_states(space, red, blue):
    """Planes are computed here from the standards' own constants, so that the decoder alone is tried."""
    rgb = np.repeat(np.repeat(np.array(BARS, float)[None], 32, 1), 128, 0) / 255  # (128, 192, 3)
    luma = rgb @ [red, 1 - red - blue, blue]
    planes = np.stack([
        16 + 219 * luma,
        128 + 224 * (rgb[..., 2] - luma) / (2 * (1 - blue)),
        128 + 224 * (rgb[..., 0] - luma) / (2 * (1 - red)),
    ])  # fmt: skip
    code = {"bt709": 1, "smpte170m": 6}[space]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"qp": "1"})
        stream.height, stream.width, stream.pix_fmt = 128, 192, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = code, 1
        frame = av.VideoFrame.from_ndarray(planes.round().astype(np.uint8), format="yuv444p")
        frame.colorspace, frame.color_range = code, 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    pixels = preprocess.read(buffer.getvalue()).frames[0]
    for place, color in enumerate(BARS):
        assert np.abs(pixels[64, 16 + 32 * place].astype(int) - color).max() <= 2


def test_start_and_end_choose_a_stretch(make_video):
    data = make_video(np.arange(120) * 2)
    assert preprocess.duration(data) == pytest.approx(12)
    reading = preprocess.read(data, start=3, end=5, clips=1)
    assert np.abs(np.subtract(levels_of(reading), [60, 98])).max() <= 2
    five = preprocess.read(data, start=2)
    assert levels_of(five)[0] == pytest.approx(40, abs=2)
    stack = np.stack([np.full((8, 8, 3), level, np.uint8) for level in range(120)])
    assert levels_of(preprocess.read(stack, fps=10, start=3, end=5, clips=1)) == [30, 49]
    assert preprocess.duration(stack, fps=10) == 12
    with pytest.raises(InputError, match="lasts beyond start=12"):
        preprocess.read(data, start=12)
    with pytest.raises(OptionError, match="0 <= start < end"):
        preprocess.read(data, start=3, end=2)


def test_windows_are_sought_not_decoded_from_the_start(make_video, monkeypatch):
    data = make_video(np.arange(600) % 250)
    readers = []
    original = videofiles._Reader.read
    monkeypatch.setattr(
        videofiles._Reader, "read", lambda self, *args: readers.append(self) or original(self, *args)
    )
    preprocess.read(data, start=50, end=52)
    assert readers[0].decoded < 50


def test_frames_that_would_grow_beyond_measure_are_refused():
    with pytest.raises(InputError, match=r"pixels after scaling 40000x2; .*Crop the long side"):
        preprocess(np.zeros((1, 2, 40_000, 3), np.uint8))


@pytest.fixture(scope="module")
def uneven_video():
    """Frames at uneven times, each of a level that tells its index, with a pause of 4 s."""
    seconds = [0.0, 0.5, 0.6, 0.7, 1.9, 2.1, 2.2, 3.0, 3.1, 7.1, 7.2, 7.6, 8.0]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.gop_size = 4
        for index, second in enumerate(seconds):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 20 + 12 * index, np.uint8), "rgb24")
            frame.pts, frame.time_base = round(1000 * second), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 2, [0, 4]),
        (1, 3, [4, 6]),  # the frame at 2.1 s is before the last one at 2.2 s; the one at 3.0 s is outside
        (2, 4, [5, 8]),
        (4, 6, [8, 8]),  # no frame of its own: the one that is shown
        (5.5, 7.5, [9, 10]),
        (6, 8, [9, 11]),
    ],
)
def test_windows_of_an_uneven_video_have_their_own_frames(start, end, expected, uneven_video):
    reading = preprocess.read(uneven_video, start=start, end=end)
    levels = reading.frames.mean(axis=(1, 2, 3))
    indices = np.round((levels - 20) / 12).astype(int)[list(reading.order)]
    assert indices.reshape(-1, 2).tolist() == [expected] * 5


def test_the_last_window_has_a_frame_once(make_video, tmp_path):
    """Floats make 7.3 - 2 to 7.3 s a little longer than a clip of 2 s."""
    path = tmp_path / "v.mp4"
    path.write_bytes(make_video(np.arange(73), fps=10))
    *_, last = video(path).windows(seconds=2, hop=1)
    ((_, leaf),) = last.terms
    assert len(preprocess.read(path, **leaf.options).frames) == 2


@pytest.mark.parametrize(
    ("matrix", "transform"),
    [
        ((1, 0, 0, 1), lambda pixels: pixels),
        ((0, 1, -1, 0), lambda pixels: np.rot90(pixels, -1)),
        ((-1, 0, 0, -1), lambda pixels: np.rot90(pixels, 2)),
        ((0, -1, 1, 0), np.rot90),
        ((-1, 0, 0, 1), np.fliplr),  # a front camera's mirror image
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda pixels: pixels.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1)),
    ],
)
def test_frames_are_shown_as_their_matrix_says(matrix, transform):
    """Turned and mirrored: the track header's matrix of an MP4, compared with the frame that it is applied to."""
    buffer = io.BytesIO()
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:32, :48], pixels[:32, 48:], pixels[32:, :48] = 80, 160, 240
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    data = buffer.getvalue()
    place = data.index(b"tkhd") + 44
    a, b, c, d = (65536 * number for number in matrix)
    changed = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    frame = preprocess.read(data[:place] + changed + data[place + 36 :]).frames[0]
    upright = preprocess.read(data).frames[0]
    assert np.array_equal(frame, transform(upright))
    assert np.abs(upright.astype(int) - pixels).max() < 40  # blocks at the edges


def test_transport_streams_that_were_joined_are_read_to_their_end():
    recording = b"".join(encode([level] * 75, "mpegts", "mpeg2video", fps=25) for level in (60, 180))
    with pytest.warns(InputNote, match="its time stamps start again; 25 frames a second assumed"):
        reading = preprocess.read(recording, start=2, end=4, clips=1)
    assert np.abs(np.subtract(levels_of(reading), [60, 180])).max() <= 3
    assert preprocess.duration(recording) == pytest.approx(6, abs=0.1)


def test_a_stream_of_jpegs_is_a_video(tmp_path):
    path = tmp_path / "camera.mjpeg"
    with path.open("wb") as file:
        for level in (60, 180):
            for _ in range(25):
                Image.new("RGB", (96, 64), (level,) * 3).save(file, "JPEG")
    assert preprocess.duration(path) == pytest.approx(2, abs=0.1)
    reading = preprocess.read(path, start=0.2, end=1.8, clips=1)
    assert np.abs(np.subtract(levels_of(reading), [60, 180])).max() <= 3


def test_theora_repeats_frames_by_empty_packets(golden):
    """25 frames of one grey each at 8 a second; every other one is like the one before and stored as nothing."""
    reading = preprocess.read(golden / "theora.ogv")
    assert reading.duration_s == 25 / 8
    levels = reading.frames[list(reading.order)].mean(axis=(1, 2, 3))
    starts = [Fraction(9, 8) * index / 5 for index in range(5)]
    places = [place for start in starts for place in (math.ceil(start * 8), math.ceil((start + 2) * 8) - 1)]
    np.testing.assert_allclose(levels, [20 + 16 * (place // 2) for place in places], atol=4)


def test_pixels_that_are_not_square_are_noted():
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for level in range(10):
            pixels = np.full((48, 64, 3), 10 * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    with pytest.warns(InputNote, match=r"not square \(4:3\)"):
        assert preprocess.read(buffer.getvalue()).frames.shape[1:3] == (48, 64)
