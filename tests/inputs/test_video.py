from __future__ import annotations

import io
import weakref
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from bindplug.errors import InputError, MissingDependency
from bindplug.inputs import ImagePreprocess, VideoPreprocess, videofiles
from bindplug.inputs.image import MEAN, STD
from bindplug.inputs.video import clip_spans

preprocess = VideoPreprocess()


def red_levels(out):
    """Mean red of the first crop's two frames in each clip, as 0..255."""
    return ((out[::3, 0].mean((-1, -2)) * STD[0] + MEAN[0]) * 255).flatten().round().int().tolist()


def stack_of(levels, size=(8, 8)):
    return np.stack([np.full((*size, 3), level, np.uint8) for level in levels])


def test_frames_of_an_array():
    out = preprocess(stack_of(range(120)), fps=10)  # 12 s: clips start at 0, 2, 4, 6 and 8 s
    assert out.shape == (15, 3, 2, 224, 224)
    assert out.dtype == torch.float32
    assert red_levels(out) == [0, 19, 20, 39, 40, 59, 60, 79, 80, 99]


def test_file_equals_array(make_video):
    levels = np.arange(120) * 2
    read = preprocess.read(make_video(levels))
    expected = preprocess.read(stack_of(levels, (64, 96)), fps=10)
    assert read.order == expected.order
    assert read.duration_s == pytest.approx(12)
    difference = read.frames.mean((1, 2, 3)) - expected.frames.mean((1, 2, 3))
    assert np.abs(difference).max() < 1.5  # neighbours differ by 2


def test_sources_agree(tmp_path, make_video):
    data = make_video(np.arange(30) * 8)
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    expected = preprocess(data)
    for source in (path, str(path), io.BytesIO(data)):
        assert torch.equal(preprocess(source), expected)


def test_long_videos_are_sought_not_decoded_whole(make_video, monkeypatch):
    readers = []
    original = videofiles._Reader.read
    monkeypatch.setattr(
        videofiles._Reader, "read", lambda self, *args: readers.append(self) or original(self, *args)
    )
    levels = np.arange(1200) % 250
    read = preprocess.read(make_video(levels))  # two minutes, a key frame each second
    expected = preprocess.read(stack_of(levels), fps=10)
    assert np.abs(read.frames.mean((1, 2, 3)) - expected.frames.mean((1, 2, 3))).max() < 2
    assert 10 <= readers[0].decoded < 200


class Counted:
    """Stands for a decoded frame, and counts how many of its kind are alive."""

    alive = most = 0

    def __init__(self, frame):
        self.frame = frame
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self):
        Counted.alive -= 1

    def __getattr__(self, name):
        return getattr(self.frame, name)


def test_no_frame_is_held_longer_than_it_is_needed(make_video, monkeypatch):
    """Of two minutes at ten frames a second, ten frames become pixels; each is let go before the next."""
    pixels = []
    reader, upright = videofiles._Reader, videofiles._upright

    def counted_seek(self, time, seek=reader._seek):
        seek(self, time)
        self.pending = Counted(self.pending)
        self.frames = map(Counted, self.frames)

    def counted_pixels(frame, name):
        assert all(reference() is None for reference in pixels)
        made = upright(frame, name)
        pixels.append(weakref.ref(made))
        return made

    monkeypatch.setattr(reader, "_seek", counted_seek)
    monkeypatch.setattr(videofiles, "_upright", counted_pixels)
    read = preprocess.read(make_video(np.arange(1200) % 250))
    assert len(read.frames) == len(pixels) == 10
    assert 1 <= Counted.most <= 4  # the pending one, the one before it, and two while the next is decoded
    assert Counted.alive == 0


def test_frames_that_change_in_size_are_refused(make_video, monkeypatch):
    sizes = iter([(8, 8), (8, 9)])
    monkeypatch.setattr(videofiles, "_upright", lambda *args: np.zeros((*next(sizes), 3), np.uint8))
    with pytest.raises(InputError, match="change in size"):
        preprocess.read(make_video(np.arange(30)))


@pytest.mark.parametrize("count", [1, 2, 5, 19, 20, 21])
def test_short_videos(make_video, count):
    levels = np.arange(count) * 10
    for out in (preprocess(make_video(levels)), preprocess(stack_of(levels), fps=10)):
        assert out.shape == (15, 3, 2, 224, 224)
        seen = red_levels(out)
        assert seen[0] == pytest.approx(0, abs=2)
        assert seen[-1] == pytest.approx(10 * (count - 1), abs=2)


def test_crops_run_along_the_long_side():
    wide = np.zeros((1, 64, 192, 3), np.uint8)
    wide[:, :, 64:128] = 255  # the middle third is bright
    left, middle, right = preprocess(wide)[:3]
    assert left.mean() < 0 < middle.mean()
    assert right.mean() < 0
    top, center, bottom = preprocess(wide.transpose(0, 2, 1, 3))[:3]
    assert top.mean() < 0 < center.mean()
    assert bottom.mean() < 0


def test_crops_of_a_square_video_are_equal(rng):
    out = preprocess(rng.integers(0, 256, (4, 50, 50, 3), dtype=np.uint8), fps=2)
    crops = out.unflatten(0, (5, 3))
    assert torch.equal(crops[:, 0], crops[:, 1])
    assert torch.equal(crops[:, 0], crops[:, 2])


def test_bilinear_resize_as_the_original(rng):
    pixels = rng.integers(0, 256, (1, 448, 448, 3), dtype=np.uint8)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), size=224, mode="bilinear"
    )
    expected = (expected / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    torch.testing.assert_close(preprocess(pixels)[0, :, 0], expected[0])


def test_still_image_is_a_video_of_one_frame(tmp_path):
    picture = Image.new("RGB", (224, 224), (200, 30, 90))
    path = tmp_path / "still.png"
    picture.save(path)
    expected = ImagePreprocess()(picture)[:, None].expand(3, 2, 224, 224)
    for source in (picture, path, path.read_bytes()):
        torch.testing.assert_close(preprocess(source), expected.expand(15, 3, 2, 224, 224).contiguous())


def test_turned_phone_videos_stand_upright(make_video):
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :48] = 255  # bright on the left as stored
    frame = preprocess.read(make_video([0] * 3, picture=picture, rotation=90)).frames[0]
    assert frame.shape == (96, 64, 3)
    assert (
        frame[-20:].mean() > 200 > 50 > frame[:20].mean()
    )  # a quarter turn counter-clockwise: left is below


def test_tensor_has_its_channels_second():
    tensor = torch.from_numpy(stack_of(range(30))).permute(0, 3, 1, 2)
    assert torch.equal(preprocess(tensor, fps=10), preprocess(stack_of(range(30)), fps=10))


def test_spans_cover_evenly():
    assert clip_spans(Fraction(12), 5) == [(Fraction(s), Fraction(s + 2)) for s in (0, 2, 4, 6, 8)]
    assert clip_spans(Fraction(1), 5) == [(Fraction(0), Fraction(1))] * 5


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (np.zeros((5, 8, 8, 3), np.uint8), {}, "fps"),
        (np.zeros((5, 8, 8, 3), np.uint8), {"fps": 0}, "positive number"),
        (np.zeros((5, 3, 8, 8), np.uint8), {"fps": 5}, r"\(T, H, W, 3\)"),
        (np.zeros((0, 8, 8, 3), np.uint8), {"fps": 5}, "at least one frame"),
        (np.zeros((8, 8, 3), np.uint8), {"fps": 5}, "shape"),
        (np.full((2, 8, 8, 3), np.nan, np.float32), {"fps": 5}, "NaN"),
        (np.full((2, 8, 8, 3), 99.0, np.float32), {"fps": 5}, "Divide by 255"),
        (b"not a video, these are words", {}, "cannot be decoded"),
        ([1, 2], {}, "type list"),
    ],
)
def test_bad_sources(source, options, message):
    with pytest.raises(InputError, match=message):
        preprocess(source, **options)


def test_sound_without_pictures_has_no_video_stream(make_video, golden):
    with pytest.raises(InputError, match=r"no video stream \(it has: audio\)"):
        preprocess(make_video([], sound=np.zeros(16_000, np.float32)))
    with pytest.raises(InputError, match=r"mono_1s_8k\.wav: no video stream"):
        preprocess(golden / "mono_1s_8k.wav")


def test_damaged_video(make_video):
    data = make_video(np.arange(30))
    with pytest.raises(InputError, match="expected a video file"):
        preprocess(data[: len(data) // 3])


def test_missing_pyav_names_the_extra(monkeypatch, make_video):
    data = make_video([0, 1])
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingDependency, match=r"bindplug\[video\]"):
        preprocess(data)
