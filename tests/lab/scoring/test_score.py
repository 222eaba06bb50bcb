"""Scores of pairs: against a hand computation, pairing by name, and the torchmetrics metric."""

import csv
import json
import pickle
import shutil

import numpy as np
import pytest
import torch

from bindplug import audio, depth, embedding, text
from bindplug.cli.app import run
from bindplug.errors import InputError
from bindplug.imagebind import save_directory
from bindplug_lab import ImageBindScore
from bindplug_lab.evaluation.embedding import Embedder
from bindplug_lab.scoring.pairs import find_pairs
from bindplug_lab.scoring.score import score_pairs
from tests.lab.miniature import write_picture, write_sound, write_text
from tests.lab.planted import SPACE, small_model, unit_rows


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    for i in range(6):
        write_sound(root / "generated" / f"{i}.wav", seconds=0.3, tone_hz=200 + 150 * i)
        write_picture(root / "prompts" / f"{i}.png", (40 * i, 200 - 30 * i, 90), (32 + i, 40))
    write_text(root / "prompts.tsv", "".join(f"{i}\ta dog {'and a cat ' * i}\n" for i in range(6)))
    return root


@pytest.fixture(scope="module")
def by_hand(folders):
    """(6, 6) cosines of all sounds with all pictures."""
    model = small_model()
    from bindplug import image

    sounds = model.embed([audio(folders / "generated" / f"{i}.wav") for i in range(6)]).double()
    pictures = model.embed([image(folders / "prompts" / f"{i}.png") for i in range(6)]).double()
    return (sounds @ pictures.T).numpy()


def rows_of(table):
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def pairs(folders, **options):
    return find_pairs(("audio", folders / "generated"), ("image", folders / "prompts"), **options)


def test_the_score_is_the_mean_cosine_and_chance_that_of_mismatched_pairs(folders, by_hand):
    scores = score_pairs(pairs(folders), Embedder(small_model(), "small"))
    assert scores.names == tuple("012345")
    assert scores.values == pytest.approx(np.diag(by_hand), abs=1e-6)
    assert scores.mean.value == pytest.approx(np.diag(by_hand).mean(), abs=1e-6)
    assert scores.mismatched == pytest.approx(by_hand[~np.eye(6, dtype=bool)].mean(), abs=1e-6)
    assert scores.first_place == pytest.approx((by_hand.argmax(1) == np.arange(6)).mean())
    assert scores.mean.low < scores.mean.value < scores.mean.high


def test_the_metric_is_equal_to_the_hand_computation_in_any_batches(folders, by_hand):
    metric = ImageBindScore(small_model(), "audio", "image")
    for batch in ([0, 1, 2, 3], [4], [5]):
        metric.update(
            [folders / "generated" / f"{i}.wav" for i in batch],
            [str(folders / "prompts" / f"{i}.png") for i in batch],
        )
    assert metric.compute().item() == pytest.approx(np.diag(by_hand).mean(), abs=1e-6)
    assert metric.compute().dtype == torch.float32
    metric.reset()
    with pytest.warns(UserWarning, match="before the ``update``"), pytest.raises(InputError, match="no pair"):
        metric.compute()


def test_preprocessed_input_gives_the_same(folders):
    model = small_model()
    metric, prepared = ImageBindScore(model, "audio", "text"), ImageBindScore(model, "audio", "text")
    sounds, sentences = [folders / "generated" / f"{i}.wav" for i in range(3)], ["a dog", "a cat", "rain"]
    metric.update(sounds, sentences)
    prepared.update(
        torch.stack([model.preprocess["audio"](path) for path in sounds]), model.tokenizer(sentences)
    )
    assert prepared.compute().item() == pytest.approx(metric.compute().item(), abs=1e-6)


def test_states_of_several_processes_are_summed():
    rows = [embedding(row, SPACE) for row in unit_rows(5)]
    metric = ImageBindScore(
        small_model(),
        "audio",
        "text",
        dist_sync_fn=lambda state, group: [
            state,
            torch.full_like(state, 6 if state.dtype == torch.int64 else 1.5),
        ],
        distributed_available_fn=lambda: True,
    )
    metric.update(rows[:2], rows[1:3])
    total = metric.total.item()
    assert metric.compute().item() == pytest.approx((total + 1.5) / (2 + 6))  # six pairs of another process
    assert metric.count.item() == 2


def test_the_metric_is_a_good_citizen():
    metric = ImageBindScore(small_model(), "audio", "text")
    assert metric.higher_is_better is True
    assert not list(metric.parameters())
    assert metric.clone().model is metric.model
    rows = [embedding(row, SPACE) for row in unit_rows(3)]
    assert metric(rows[:1], rows[:1]).item() == pytest.approx(1.0)  # forward: of this batch alone
    assert metric(rows[:1], [-1 * rows[0]]).item() == pytest.approx(-1.0)  # not clipped at 0
    assert metric.compute().item() == pytest.approx(0.0, abs=1e-6)
    assert pickle.loads(pickle.dumps(metric)).count.item() == 2


def test_wrong_use_of_the_metric_is_refused(folders):
    metric = ImageBindScore(small_model(), "audio", "text")
    sound = folders / "generated" / "0.wav"
    for first, second, message in [
        ([sound], ["a", "b"], "1 of audio and 2 of text"),
        (sound, ["a"], "a list of sources"),
        ([depth("d.png")], ["a"], "a query of depth"),
        ([folders / "none.wav"], ["a"], "none.wav"),
    ]:
        with pytest.raises(InputError, match=message):
            metric.update(first, second)
    assert metric.count.item() == 0
    from bindplug.imagebind import ImageBind
    from tests.small import SMALL

    with pytest.raises(InputError, match="without audio"):
        ImageBindScore(ImageBind(SMALL, modalities={"text", "image"}), "audio", "text")


def test_names_without_a_partner_are_an_error_that_names_them(folders, tmp_path):
    write_sound(tmp_path / "0.wav")
    write_sound(tmp_path / "deep" / "x.wav")
    sides = (("audio", tmp_path), ("image", folders / "prompts"))
    with pytest.raises(InputError, match=r"deep/x \(audio.*--allow-unpaired"):
        find_pairs(*sides)
    found = find_pairs(*sides, allow_unpaired=True)
    assert found.names == ("0",)
    assert len(found.unpaired) == 6
    (tmp_path / "0.flac").write_bytes((tmp_path / "0.wav").read_bytes())
    with pytest.raises(
        InputError, match=r"2 files named '0' that may be audio: 0\.flac, 0\.wav; expected each name once$"
    ):
        find_pairs(*sides)
    with pytest.raises(InputError, match="no such file or folder"):
        find_pairs(("audio", tmp_path / "none"), sides[1])


def test_sides_may_share_a_folder(tmp_path, recwarn):
    for i in range(3):
        write_sound(tmp_path / "mixed" / f"{i}.WAV", tone_hz=300 + 200 * i)
        write_picture(tmp_path / "mixed" / f"{i}.png", (80 * i, 90, 20))
        write_text(tmp_path / "mixed" / f"{i}.txt", f"picture {i}")
        np.save(tmp_path / "mixed" / f"{i}.npy", np.ones((4, 4), np.float32))
    place = tmp_path / "mixed"
    found = find_pairs(("audio", place), ("image", place))
    assert [name.rpartition("/")[2] for name in found.first_sources] == ["0.WAV", "1.WAV", "2.WAV"]
    assert [name.rpartition("/")[2] for name in found.second_sources] == ["0.png", "1.png", "2.png"]
    assert find_pairs(("image", place), ("text", place)).second[1] == text("picture 1")
    found = find_pairs(("image", place), ("depth", place))  # a map may be .png too, but there is an array
    assert [name.rpartition("/")[2] for name in found.second_sources] == ["0.npy", "1.npy", "2.npy"]
    assert any("neither audio nor image left out, as 0.npy" in str(w.message) for w in recwarn)


def test_a_file_is_both_sides_of_a_pair_only_as_sight_and_sound_of_a_video(tmp_path):
    for i in range(2):
        write_picture(tmp_path / f"{i}.png")
    with pytest.raises(
        InputError, match=r"0\.png: the same file as image and as depth.*a folder of their own"
    ):
        find_pairs(("image", tmp_path), ("depth", tmp_path))
    write_text(tmp_path / "clips" / "a.mp4", "not read here")
    found = find_pairs(("video", tmp_path / "clips"), ("audio", tmp_path / "clips"))
    assert found.first_sources == found.second_sources
    with pytest.raises(InputError, match=r"no imu in the folder, only .* as a\.mp4.*\.csv"):
        find_pairs(("imu", tmp_path / "clips"), ("image", tmp_path))
    (tmp_path / "0.tif").write_bytes(b"x")
    with pytest.raises(InputError, match=r"2 files named '0' .* a folder of their own"):
        find_pairs(("image", tmp_path), ("thermal", tmp_path))


def test_names_are_the_same_whichever_way_accents_are_written(tmp_path):
    composed, apart = "caf\u00e9", "cafe\u0301"
    write_sound(tmp_path / "a" / f"{composed}.wav")
    write_text(tmp_path / "b" / f"{apart}.txt", "a cafe")
    write_text(tmp_path / "c.tsv", f"{apart}\ta cafe")
    for place in ("b", "c.tsv"):
        pairs = find_pairs(("audio", tmp_path / "a"), ("text", tmp_path / place))
        assert pairs.names == (composed,)


def test_sentences_come_from_a_table_or_a_folder(folders, tmp_path):
    for i in range(6):
        write_text(tmp_path / f"{i}.txt", f"a dog {'and a cat ' * i}\n")
        write_picture(tmp_path / f"{i}.png")  # pictures may lie beside their prompts
    of_table = find_pairs(("audio", folders / "generated"), ("text", folders / "prompts.tsv"))
    of_folder = find_pairs(("audio", folders / "generated"), ("text", tmp_path))
    assert of_table.second == of_folder.second
    assert of_table.second[0] == text("a dog")
    for content, message in [
        ("0 a dog", "name<TAB>sentence"),
        ("0\ta\n0\tb", "a second time"),
        ("", "nothing in it"),
    ]:
        with pytest.raises(InputError, match=message):
            find_pairs(("audio", folders / "generated"), ("text", write_text(tmp_path / "t.tsv", content)))


def test_the_command_prints_writes_and_skips(folders, tmp_path, capsys, by_hand):
    model = save_directory(small_model(), tmp_path / "small", license="Apache-2.0")
    table = tmp_path / "scores.csv"
    command = ["score", "--audio", folders / "generated", "--image", folders / "prompts", "--model", model]
    command = [str(part) for part in (*command, "--device", "cpu", "-o", table, "--batch-size", 4)]
    assert run(command) == 0
    printed = capsys.readouterr().out
    assert f"{np.diag(by_hand).mean():.4f}" in printed
    assert "mismatched pairs, which is chance" in printed
    lines = rows_of(table)
    assert [line["name"] for line in lines] == list("012345")
    assert float(lines[3]["score"]) == pytest.approx(by_hand[3, 3], abs=1e-5)
    assert run(command) == 1
    assert "--overwrite" in capsys.readouterr().err
    generated = tmp_path / "generated"
    shutil.copytree(folders / "generated", generated)
    (generated / "2.wav").write_bytes(b"no sound")
    command[2] = str(generated)
    assert run([*command, "--overwrite", "--json"]) == 3
    printed = capsys.readouterr()
    content = json.loads(printed.out)
    assert [pair["name"] for pair in content["pairs"]] == list("01345")
    assert "skipped 2" in printed.err
    assert run([*command, "--overwrite", "--strict"]) == 1
    assert len(rows_of(table)) == 5  # the earlier table stays
    assert run(["score", "--audio", str(folders / "generated")]) == 2
    assert run([*command[:5], "--image", "x", "--text", "y"]) == 2
