"""Pairs of files as a binding run reads them: rows kept on disk, samples stored, crops aligned, bad files listed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from bindplug.encoder import Encoder
from bindplug.errors import InputError
from bindplug.inputs import AudioPreprocess, ImagePreprocess
from bindplug.space import EmbeddingSpace
from bindplug.training import PairDataset, RowCache, embed_anchors, open_pairs, prepare_pairs
from bindplug.training.checkpoints import differing
from bindplug.training.pair_anchors import PictureCrops
from tests.training.pair_files import (
    NAMES,
    RATE_HZ,
    picture_bytes,
    sound,
    sound_bytes,
    write_folder,
    write_sound,
)


class ColorAnchor(Encoder):
    """Rows of pictures are the mean of each channel; counts how many pictures it embedded."""

    def __init__(self, modalities: tuple[str, ...] = ("image",)) -> None:
        self.embedding_space = EmbeddingSpace("test:colors", 3)
        self.modalities = modalities
        self.preprocess = {"image": ImagePreprocess(image_size=32)}
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.embedded = 0

    def encode(self, modality: str, x: Tensor, normalize: bool = False) -> Tensor:
        assert modality == "image"
        self.embedded += len(x)
        return torch.nn.functional.normalize(x.mean((2, 3)) + 3, dim=1)


def prepared(folder: Path, run: Path, anchor: ColorAnchor, **options):
    options = {"preprocess": AudioPreprocess(), **options}
    return prepare_pairs(open_pairs(folder, "audio"), "audio", anchor, run, **options)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_pairs_of_files_are_a_pair_dataset(tmp_path):
    folder = write_folder(tmp_path / "files")
    write_sound(folder / "bell.wav", np.concatenate([sound(0, 3), sound(9, 3)]))
    pairs = prepared(folder, tmp_path / "run", ColorAnchor()).pairs
    assert isinstance(pairs, PairDataset)
    indices = torch.tensor([2, 0])
    assert pairs.anchors(indices, draws()).shape == (2, 3)
    samples = pairs.samples(indices, draws())
    assert samples.shape == (2, 1, 128, 204)
    assert torch.equal(samples, pairs.samples(indices, draws()))
    clips = {
        tuple(pairs.samples(torch.tensor([0]), draws(seed)).flatten()[5000:5020].tolist())
        for seed in range(20)
    }
    assert len(clips) == 3  # a clip of a long recording is drawn anew each time
    expected = AudioPreprocess()(folder / "drum.wav", clips=3)
    assert any(torch.equal(samples[0], clip) for clip in expected)


def test_samples_that_do_not_fit_on_disk_are_read_anew_from_random_moments(tmp_path):
    folder = write_folder(tmp_path / "files")
    write_sound(folder / "bell.wav", sound(0, 9) * (np.arange(9 * RATE_HZ) > 4 * RATE_HZ))
    run = tmp_path / "run"
    pairs = prepared(folder, run, ColorAnchor(), most_bytes=0).pairs
    assert pairs.stored is None
    assert not list(run.glob("samples.*"))
    loudness = [float(pairs.samples(torch.tensor([0]), draws(seed)).mean()) for seed in range(12)]
    assert max(loudness) - min(loudness) > 0.2
    assert pairs.samples(torch.tensor([0, 1, 2, 3]), draws()).shape == (4, 1, 128, 204)


def test_pictures_are_embedded_once_for_all_runs(tmp_path):
    folder = write_folder(tmp_path / "files")
    cache = RowCache(tmp_path / "cache" / "rows.sqlite", "weights")
    anchors = [ColorAnchor() for _ in range(4)]
    first = prepared(folder, tmp_path / "a", anchors[0], row_cache=cache)
    again = prepared(folder, tmp_path / "b", anchors[1], row_cache=RowCache(cache.file, "weights"))
    assert [anchor.embedded for anchor in anchors[:2]] == [4, 0]
    assert torch.equal(first.pairs.rows, again.pairs.rows)
    prepared(folder, tmp_path / "c", anchors[2], row_cache=RowCache(cache.file, "other weights"))
    assert anchors[2].embedded == 4
    (folder / "crow.png").write_bytes(picture_bytes(9))
    prepared(folder, tmp_path / "d", anchors[3], row_cache=cache)
    assert anchors[3].embedded == 1


def test_stored_samples_are_used_again_only_for_the_same_files(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "files")
    first = prepared(folder, tmp_path / "run", ColorAnchor()).pairs
    monkeypatch.setattr(AudioPreprocess, "read", lambda *_, **__: pytest.fail("a file was read again"))
    again = prepared(folder, tmp_path / "run", ColorAnchor()).pairs
    assert np.array_equal(first.stored.rows, again.stored.rows)
    assert first.identity == again.identity
    monkeypatch.undo()
    write_sound(folder / "bell.wav", sound(5, 3.1))
    changed = prepared(folder, tmp_path / "run", ColorAnchor()).pairs
    assert changed.identity != first.identity
    torch.testing.assert_close(
        torch.from_numpy(changed.stored.rows[0].copy()), AudioPreprocess()(folder / "bell.wav")
    )


def test_bad_files_are_left_out_and_listed_or_stop_the_run(tmp_path):
    folder = write_folder(tmp_path / "files", (*NAMES, "goat", "hare"))
    (folder / "crow.png").write_bytes(b"no picture")
    (folder / "goat.wav").write_bytes(b"no sound")
    (folder / "lone.wav").write_bytes(b"-")
    result = prepared(folder, tmp_path / "run", ColorAnchor())
    assert [item.name for item in result.pairs.items] == ["bell", "drum", "frog", "hare"]
    assert sorted(Path(problem.source).name for problem in result.problems) == [
        "crow.png",
        "goat.wav",
        "lone.wav",
    ]
    expected = AudioPreprocess()(folder / "hare.wav", clips=3)
    samples = result.pairs.samples(torch.tensor([3]), draws())
    assert any(torch.equal(samples[0], clip) for clip in expected)
    assert torch.allclose(
        result.pairs.anchors(torch.tensor([3]), draws()),
        torch.from_numpy(embed_anchors([result.pairs.items[3]], ColorAnchor())[2]),
    )
    with pytest.raises(InputError, match="lone"):
        prepared(folder, tmp_path / "run", ColorAnchor(), strict=True)
    (folder / "lone.wav").unlink()
    with pytest.raises(InputError, match="crow"):
        prepared(folder, tmp_path / "run", ColorAnchor(), strict=True)


def test_nothing_is_learned_from_pictures_that_are_all_the_same(tmp_path):
    folder = write_folder(tmp_path / "files")
    for name in NAMES:
        (folder / f"{name}.png").write_bytes(picture_bytes(0))
    with pytest.raises(InputError, match="all the same to the anchor"):
        prepared(folder, tmp_path / "run", ColorAnchor())


def test_an_anchor_without_an_image_tower_is_refused(tmp_path):
    folder = write_folder(tmp_path / "files")
    with pytest.raises(InputError, match="a model of text, audio; expected a model that embeds pictures"):
        prepared(folder, tmp_path / "run", ColorAnchor(("text", "audio")))


def test_one_class_and_few_pictures_are_remarked_on(tmp_path):
    folder = write_folder(tmp_path / "files")
    rows = ["image,audio,label", *(f"{name}.png,{other}.wav,dog" for name in NAMES[:2] for other in NAMES)]
    (folder / "pairs.csv").write_text("\n".join(rows), encoding="utf-8")
    notes = prepared(folder / "pairs.csv", tmp_path / "run", ColorAnchor()).notes
    assert any("one class, 'dog'" in note for note in notes)
    assert any("8 pairs have 2 different pictures" in note for note in notes)


def test_a_picture_and_its_depth_map_get_the_same_crop(tmp_path):
    import bindplug.inputs

    class FlatDepth(bindplug.inputs.DepthPreprocess):
        """Depth as the stored numbers, (1, 32, 32)."""

        def read(self, source: object, **options: object) -> Tensor:
            return torch.from_numpy(np.load(str(source)))

        def finish(self, readings, device=None):
            return [reading[None] for reading in readings]

    class Echo(ColorAnchor):
        """Rows are the picture's own first channel."""

        def encode(self, modality, x, normalize=False):
            return x[:, 0].flatten(1)

    from PIL import Image

    for seed in range(3):
        ramp = np.add.outer(np.arange(32), 32 * np.arange(32)) / 8 + 40 * seed
        pixels = np.repeat(np.uint8(ramp / 2)[..., None], 3, axis=2)
        Image.fromarray(pixels).save(tmp_path / f"r{seed}.png")
        values = bindplug.inputs.ImagePreprocess(image_size=32)(tmp_path / f"r{seed}.png")[0]
        np.save(tmp_path / f"r{seed}.npy", values.numpy())
    anchor = Echo()
    anchor.embedding_space = EmbeddingSpace("test:echo", 32 * 32)
    pairs = prepare_pairs(
        open_pairs(tmp_path, "depth"),
        "depth",
        anchor,
        tmp_path / "run",
        preprocess=FlatDepth(),
        augment="basic",
    ).pairs
    indices = torch.tensor([0, 1, 2])
    rows, maps = pairs.anchors(indices, draws(3)), pairs.samples(indices, draws(3))
    torch.testing.assert_close(rows, maps.flatten(1))
    assert not torch.allclose(rows, pairs.rows)
    assert torch.equal(pairs.without_augmentation().anchors(indices, draws()), pairs.rows)


def test_crops_stay_inside_and_light_is_for_pictures_alone():
    crops = PictureCrops("strong")
    drawn = crops.draw(500, draws())
    left, top, width, height = drawn[:, :4].unbind(1)
    assert bool(((left >= 0) & (top >= 0) & (left + width <= 1.0001) & (top + height <= 1.0001)).all())
    assert float((width * height).min()) > 0.3
    flat = torch.full((1, 8, 8), 2.0)
    assert torch.equal(crops.apply(flat, drawn[0], light=False), flat)
    assert not torch.equal(crops.apply(flat, drawn[0], light=True), flat)
    with pytest.raises(InputError, match="augmentation"):
        PictureCrops("wild")


def test_parts_of_pairs_have_an_identity_of_their_own(tmp_path):
    result = prepared(write_folder(tmp_path / "files"), tmp_path / "run", ColorAnchor())
    train, held = result.split(0.25)
    assert (len(train), len(held)) == (3, 1)
    assert len({str(pairs.identity) for pairs in (train, held, result.pairs)}) == 3
    names = [item.name for item in (*train.items, *held.items)]
    assert sorted(names) == sorted(NAMES)
    assert train.anchors(torch.tensor([0]), draws()).shape == (1, 3)
    assert result.split(0)[1] is None


def test_pairs_have_the_same_identity_and_split_wherever_their_files_lie(tmp_path):
    """A run goes on where its files were copied to, and does not where their content is another."""
    names = tuple(f"n{index}" for index in range(9))
    first = write_folder(tmp_path / "files", names)
    moved = tmp_path / "elsewhere" / "of another name"
    shutil.copytree(first, moved, copy_function=shutil.copy)  # with other times
    here, there = (
        prepared(folder, tmp_path / folder.name, ColorAnchor()).split(0.3) for folder in (first, moved)
    )
    for pairs, others in zip(here, there, strict=True):
        assert pairs.identity == others.identity
        assert [item.name for item in pairs.items] == [item.name for item in others.items]
    (moved / "n3.wav").write_bytes(sound_bytes(20))
    changed = prepared(moved, tmp_path / "changed", ColorAnchor()).pairs
    before = prepared(first, tmp_path / "run", ColorAnchor()).pairs
    assert {name for name, value in changed.identity.items() if value != before.identity[name]} == {"files"}
    assert differing({"pairs": before.identity}, {"pairs": changed.identity}) == [
        "the files of the pairs, or their order, have changed since"
    ]


def test_a_damaged_cache_of_rows_is_refused_in_words(tmp_path):
    file = tmp_path / "rows.sqlite"
    file.write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match=r"rows\.sqlite"):
        RowCache(file, "weights")


def test_a_full_disk_is_an_error_and_not_a_crash(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "files")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    pairs = prepared(folder, tmp_path / "run", ColorAnchor()).pairs
    assert pairs.stored is None
    assert pairs.samples(torch.tensor([1]), draws()).shape == (1, 1, 128, 204)


def test_samples_are_read_anew_where_there_is_no_room_for_all(tmp_path):
    """With a limit that stands for a quota, which no look at the disk foretells."""
    resource = pytest.importorskip("resource")
    folder = write_folder(tmp_path / "files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
    try:
        result = prepared(folder, tmp_path / "run", ColorAnchor())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result.pairs.stored is None
    assert any("read anew each time" in note for note in result.notes)
    assert len(result.pairs) == len(NAMES)
    assert list((tmp_path / "run").iterdir()) == []
    assert prepared(folder, tmp_path / "run", ColorAnchor()).pairs.stored is not None


def test_files_that_swap_names_are_not_taken_for_what_was_stored(tmp_path):
    folder = write_folder(tmp_path / "files")
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes().ljust(200, b"\0"))  # of one size
        os.utime(file, (1e9, 1e9))  # as a tar with one time for all leaves them
    cache = RowCache(tmp_path / "rows.sqlite", "weights")
    before = prepared(folder, tmp_path / "run", ColorAnchor(), row_cache=cache).pairs
    for ending in ("png", "wav"):
        (folder / f"bell.{ending}").rename(folder / "aside")
        (folder / f"crow.{ending}").rename(folder / f"bell.{ending}")
        (folder / "aside").rename(folder / f"crow.{ending}")
    after = prepared(folder, tmp_path / "run", ColorAnchor(), row_cache=cache).pairs
    first, second = torch.tensor([0]), torch.tensor([1])
    assert torch.equal(before.anchors(first, draws()), after.anchors(second, draws()))
    assert torch.equal(before.samples(first, draws()), after.samples(second, draws()))
    assert not torch.equal(before.samples(first, draws()), after.samples(first, draws()))
