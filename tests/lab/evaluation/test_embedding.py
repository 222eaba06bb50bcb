"""Cached embeddings: found again when nothing changed, and never when a file, an option or the model did."""

import os
import sqlite3
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import bindplug
from bindplug import Modality, audio, image, text
from bindplug.bound import BoundEncoder
from bindplug.errors import InputError
from bindplug.imagebind import ImageBind
from bindplug.testing import FakeEncoder
from bindplug_lab.evaluation.cache import FILENAME, CachedRow, RowCache
from bindplug_lab.evaluation.embedding import Embedder
from bindplug_lab.evaluation.identity import digest_of_model, digest_of_query
from tests.lab.miniature import write_sound
from tests.lab.planted import SPACE, small_model, unit_rows
from tests.small import SMALL


class Counting(Embedder):
    """Counts the queries that are embedded."""

    fresh = 0

    def _part(self, *arguments):
        part = super()._part(*arguments)
        self.fresh += len(part.queries)
        return part


def embed(cache, queries, model=None, name="small", **options):
    embedder = Counting(model or small_model(), name, cache, **options)
    return embedder.embed(queries), embedder.fresh


def test_rows_are_found_again_and_equal(tmp_path):
    queries = [audio(write_sound(tmp_path / f"{i}.wav", tone_hz=200 + 9 * i)) for i in range(7)] + [
        text("a dog")
    ]
    with RowCache(tmp_path / "cache") as cache:
        first, fresh = embed(cache, queries, step=3)
        assert fresh == 8
    with RowCache(tmp_path / "cache") as cache:
        second, fresh = embed(cache, queries[::-1], step=3)
        assert fresh == 0
    assert np.array_equal(first.rows, second.rows[::-1])
    plain, fresh = embed(None, queries)
    assert fresh == 8
    assert plain.rows == pytest.approx(first.rows, abs=1e-6)
    assert [note["note"] for note in second.notes] == [note["note"] for note in first.notes][::-1]


def test_a_changed_file_is_read_again_even_with_its_old_date(tmp_path):
    path = write_sound(tmp_path / "a.wav", tone_hz=300)
    state = path.stat()
    with RowCache(tmp_path / "cache") as cache:
        before, _ = embed(cache, [audio(path)])
        write_sound(path, tone_hz=700)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        assert path.stat().st_size == state.st_size
        after, fresh = embed(cache, [audio(path)])
    assert fresh == 1
    assert not np.allclose(before.rows, after.rows)
    assert before.digest != after.digest


def test_reader_options_and_windows_tell_rows_apart(tmp_path):
    path = write_sound(tmp_path / "a.wav", seconds=3)
    queries = [
        audio(path),
        audio(path, channel="mix"),
        audio(path, start=0, end=1),
        audio(path, start=1, end=2),
    ]
    assert len({digest_of_query(query) for query in queries}) == 4
    assert digest_of_query(audio(path)) == digest_of_query(audio(str(path)))
    assert digest_of_query(2 * audio(path)) != digest_of_query(audio(path) + text("x"))


def test_content_in_memory_is_compared_and_open_files_are_not_cached(tmp_path):
    first, second = (Image.new("RGB", (8, 8), color) for color in ("red", "blue"))
    assert digest_of_query(image(first)) == digest_of_query(image(first.copy()))
    assert digest_of_query(image(first)) != digest_of_query(image(second))
    assert digest_of_query(image(np.zeros((8, 8, 3), np.uint8))) is not None
    with write_sound(tmp_path / "a.wav").open("rb") as file:
        assert digest_of_query(audio(file)) is None


def test_another_model_of_the_same_space_is_told_apart():
    torch.manual_seed(0)
    twin = ImageBind(SMALL, space=SPACE).eval()
    names = ("audio", "text", "image", "depth")
    before = {name: digest_of_model(twin, name) for name in names}
    assert before == {name: digest_of_model(small_model(), name) for name in names}
    with torch.no_grad():
        next(iter(twin.towers["audio"].parameters())).view(-1)[3] += 1e-6
    assert twin.fingerprint.matches(small_model().fingerprint)  # the audio tower does not define the space
    after = {name: digest_of_model(twin, name) for name in names}
    assert {name for name in names if before[name] != after[name]} == {"audio"}
    alone = ImageBind.from_official(twin.official_state_dict(), SMALL, modalities={"text"})
    alone.embedding_space = SPACE
    assert digest_of_model(twin, "text") == digest_of_model(alone, "text")


def test_use_does_not_change_a_models_digest(tmp_path):
    torch.manual_seed(1)
    model = ImageBind(SMALL, space=SPACE).eval()
    before = {name: digest_of_model(model, name) for name in model.modalities}
    model.embed([text("a dog"), audio(write_sound(tmp_path / "a.wav"))])
    assert {name: digest_of_model(model, name) for name in model.modalities} == before


def test_a_bound_model_is_told_by_its_tower_before_and_after_its_anchor_is_loaded():
    tower, anchor = small_model(1), small_model(0)

    def bound(network):
        return BoundEncoder(
            "audio", network, SPACE, modalities=("audio", "text"), load_anchor=lambda: anchor, scale=10.0
        )

    model = bound(tower)
    before = digest_of_model(model, "audio")
    assert digest_of_model(model, "text") == digest_of_model(bound(anchor), "text")
    assert model.anchor is anchor
    assert digest_of_model(model, "audio") == before != digest_of_model(bound(anchor), "audio")


def test_settings_beside_the_weights_count(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = digest_of_model(small_model(), "text", str(tmp_path))
    (tmp_path / "config.json").write_text('{"scale": 2}')
    assert digest_of_model(small_model(), "text", str(tmp_path)) != before


def test_what_a_packed_model_embeds_is_not_kept(tmp_path):
    torch.manual_seed(3)
    model = ImageBind(SMALL, space=SPACE).eval()
    assert digest_of_model(model, "text") is not None
    packed = bindplug.quantize(model)
    assert digest_of_model(packed, "text") is None  # its weights cannot be told from those of another
    with RowCache(tmp_path) as cache:
        rows, fresh = embed(cache, [text("a dog")], model=packed)
        assert (len(rows.rows), fresh, len(cache)) == (1, 1, 0)


def test_an_encoder_of_another_library_is_told_by_its_weights():
    model = bindplug.load("toy_clap", modalities={"audio", "text"})
    before = digest_of_model(model, "audio", "toy_clap")
    assert before == digest_of_model(
        bindplug.load("toy_clap", modalities={"audio", "text"}), "audio", "toy_clap"
    )
    with torch.no_grad():
        list(model.network.parameters())[-1].view(-1)[0] += 1e-6
    assert digest_of_model(model, "audio", "toy_clap") != before


class Private(FakeEncoder):
    """An encoder that is no module, with weights and readers that only attributes with an underscore hold."""

    def __init__(self, weights, reader):
        super().__init__(["audio"])
        self._weights = weights
        self.preprocess = {"audio": reader}


class Slotted:
    __slots__ = ("_mean", "mode")

    def __init__(self, mean, mode):
        self._mean, self.mode = np.array(mean), mode


def scaled(factor):
    return lambda source: factor * source


def test_weights_and_readers_of_any_encoder_count_wherever_they_are():
    encoders = [
        Private(torch.zeros(2), scaled(1.0)),
        Private(torch.ones(2), scaled(1.0)),
        Private(nn.Linear(2, 2), scaled(1.0)),
        Private(torch.zeros(2), scaled(2.0)),
        Private(torch.zeros(2), lambda source: 3.0 * source),
        Private(torch.zeros(2), lambda source: 4.0 * source),
        Private(torch.zeros(2), partial(max, 1)),
        Private(torch.zeros(2), partial(max, 2)),
        Private(torch.zeros(2), Slotted([1.0], Modality.AUDIO)),
        Private(torch.zeros(2), Slotted([2.0], Modality.AUDIO)),
        Private(torch.zeros(2), Slotted([1.0], Modality.IMAGE)),
        Private(torch.zeros(2), np.zeros(3).mean),
    ]
    digests = [digest_of_model(encoder, "audio") for encoder in encoders]
    assert len(set(digests)) == len(digests)
    assert None not in digests
    assert digest_of_model(Private(torch.zeros(2), scaled(1.0)), "audio") == digests[0]


def test_settings_of_a_modules_parts_count():
    def encoder(mean):
        normalize = nn.Identity()
        normalize.mean = mean
        return Private(torch.zeros(1), normalize)

    assert digest_of_model(encoder([0.5]), "audio") != digest_of_model(encoder([0.4]), "audio")


def test_the_cache_stays_within_its_bound_and_keeps_what_was_used_last(tmp_path):
    rows = {f"k{i}": CachedRow(row) for i, row in enumerate(unit_rows(30))}
    with RowCache(tmp_path, limit_bytes=10 * 64) as cache:  # a row has 64 bytes
        for i in range(10):
            cache.put({f"k{i}": rows[f"k{i}"]})
        assert len(cache) == 10
        assert cache.get(["k0"])  # used again
        cache.put({"k10": rows["k10"]})
        assert set(cache.get(list(rows))) == {"k0", *(f"k{i}" for i in range(3, 11))}  # one in ten is freed
        for i in range(11, 30):
            cache.put({f"k{i}": rows[f"k{i}"]})
            assert len(cache) <= 10


def test_a_damaged_row_is_made_again(tmp_path):
    with RowCache(tmp_path) as cache:
        cache.put({"a": CachedRow(unit_rows(1)[0], (("x.wav", "short"),))})
    with sqlite3.connect(tmp_path / FILENAME) as connection:
        connection.execute("UPDATE rows SET row = zeroblob(64)")
    with RowCache(tmp_path) as cache:
        assert cache.get(["a"]) == {}


def test_a_damaged_file_is_set_aside(tmp_path):
    (tmp_path / FILENAME).write_bytes(b"not a database" * 100)
    with pytest.warns(UserWarning, match="damaged"):
        cache = RowCache(tmp_path)
    cache.put({"a": CachedRow(unit_rows(1)[0])})
    assert len(cache) == 1
    cache.close()
    assert list(tmp_path.glob("*.damaged"))


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--no-cache"):
        RowCache(tmp_path / "file" / "cache")


def test_a_full_disk_costs_the_cache_and_no_result(tmp_path, monkeypatch):
    cache = RowCache(tmp_path)
    monkeypatch.setattr(
        cache, "_make_room", lambda connection, added: connection.execute("SELECT broken FROM rows")
    )
    with pytest.warns(UserWarning, match="not kept"):
        rows, _ = embed(cache, [text("a dog")])
    assert len(rows.rows) == 1
    cache.close()
