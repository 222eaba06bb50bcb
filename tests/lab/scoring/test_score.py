"""Scores of pairs: against a hand computation, pairing by name, and the torchmetrics metric."""

import copy
import csv
import json
import pickle
import shutil
import warnings

import matplotlib.pyplot
import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection

from bindplug import audio, depth, embedding, text
from bindplug.cli.app import run
from bindplug.errors import InputError
from bindplug.imagebind import save_directory
from bindplug_lab import ImageBindScore
from bindplug_lab.evaluation.embedding import Embedder
from bindplug_lab.scoring.metric import UNIT
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
            torch.full_like(state, 6 if state is metric.count else round(1.5 / UNIT)),
        ],
        distributed_available_fn=lambda: True,
    )
    metric.update(rows[:2], rows[1:3])
    total = metric.total.item() * UNIT
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
    assert repr(metric) == "ImageBindScore(audio, text)"


def test_forward_is_of_its_batch_and_compute_of_all():
    rows = [embedding(row, SPACE) for row in unit_rows(6)]
    metric, whole = (ImageBindScore(small_model(), "audio", "text") for _ in range(2))
    parts = [metric(rows[:2], rows[1:3]).item(), metric(rows[2:5], rows[3:6]).item()]
    whole.update(rows[:5], rows[1:6])
    assert metric.compute().item() == pytest.approx(whole.compute().item())
    assert whole.compute().item() == pytest.approx((2 * parts[0] + 3 * parts[1]) / 5)
    metric.update([], [])
    assert metric.compute().item() == pytest.approx(whole.compute().item())


def test_copies_count_for_themselves_and_share_the_encoder():
    rows = [embedding(row, SPACE) for row in unit_rows(4)]
    metric = ImageBindScore(small_model(), "audio", "text")
    metric.update(rows[:2], rows[1:3])
    for other in (copy.deepcopy(metric), metric.clone(), pickle.loads(pickle.dumps(metric))):
        other.update(rows[2:3], rows[3:4])
        assert (metric.count.item(), other.count.item()) == (2, 3)
        other.reset()
        assert other.count.item() == 0
    assert copy.deepcopy(metric).model is metric.model
    metric.persistent(True)
    other = ImageBindScore(metric.model, "audio", "text")
    other.persistent(True)
    other.load_state_dict(metric.state_dict())
    other.update(rows[2:3], rows[3:4])
    assert other.count.item() == 3


@pytest.mark.parametrize("change", ["half", "bfloat16", "float16"])
def test_sums_keep_their_precision(change):
    rows = [embedding(row, SPACE) for row in unit_rows(3)]
    metric = ImageBindScore(small_model(), "audio", "text")
    metric = metric.half() if change == "half" else metric.set_dtype(getattr(torch, change))
    for _ in range(3):
        metric.update(rows[:1] * 1000, rows[1:2] * 1000)
    assert (metric.count.item(), metric.total.dtype, metric.count.dtype) == (3000, torch.int64, torch.int64)
    expected = torch.nn.functional.cosine_similarity(*torch.tensor(unit_rows(3)[:2]).double(), dim=0)
    assert metric.compute().item() == pytest.approx(expected.item(), abs=1e-6)
    assert metric.to("meta").total.device.type == "meta"


def test_a_collection_keeps_metrics_of_other_models_and_modalities_apart():
    model, other = small_model(), copy.deepcopy(small_model())
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    collection = MetricCollection(
        {
            "text": ImageBindScore(model, "text", "text"),
            "same": ImageBindScore(model, "text", "text"),
            "other": ImageBindScore(other, "text", "text"),
        }
    )
    collection.update([], [])  # all sums and counts are equal after this
    batch = (["a dog", "rain"], ["a cat", "a dog"])
    collection.update(*batch)
    values = collection.compute()
    alone = ImageBindScore(other, "text", "text")
    alone.update(*batch)
    assert values["text"] == values["same"]
    assert values["other"].item() == pytest.approx(alone.compute().item(), abs=1e-6)
    assert abs(values["other"] - values["text"]) > 1e-3
    senses = MetricCollection(
        {name: ImageBindScore(model, name, "text") for name in ("audio", "text")}, compute_groups=True
    )
    senses.update([], [])
    assert len(senses.compute_groups) == 2


def test_the_metric_draws_itself():
    matplotlib.use("agg")
    metric = ImageBindScore(small_model(), "audio", "text")
    rows = [embedding(row, SPACE) for row in unit_rows(2)]
    figure, axes = metric.plot([metric(rows[:1], rows[1:]), metric(rows[:1], rows[:1])])
    assert len(axes.lines) >= 1
    matplotlib.pyplot.close(figure)


SIZES = ((5, 2), (7, 0))
"""Pairs of each of two processes."""


def _process(rank, place):
    rows = [embedding(row, SPACE) for row in unit_rows(8)]
    torch.distributed.init_process_group("gloo", init_method=f"file://{place}/store", rank=rank, world_size=2)
    results = []
    for sizes in SIZES:
        metric = ImageBindScore(small_model(), "audio", "text")
        start, stop = sum(sizes[:rank]), sum(sizes[: rank + 1])
        if sizes[rank]:
            metric.update(rows[start:stop], rows[start + 1 : stop + 1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # compute() before update(), in the process without a pair
            results.append([metric.compute().item(), metric.count.item()])
    (place / f"{rank}.json").write_text(json.dumps(results))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_compute_what_one_does(tmp_path):
    torch.multiprocessing.spawn(_process, (tmp_path,), nprocs=2)
    rows = [embedding(row, SPACE) for row in unit_rows(8)]
    metric = ImageBindScore(small_model(), "audio", "text")
    metric.update(rows[:7], rows[1:])
    for rank in range(2):
        for (value, count), sizes in zip(
            json.loads((tmp_path / f"{rank}.json").read_text()), SIZES, strict=True
        ):
            assert value == pytest.approx(metric.compute().item(), abs=1e-9)
            assert count == sizes[rank]  # states are its own again after compute()


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
    (tmp_path / "3.txt").write_bytes(
        ("\ufeff" + (tmp_path / "3.txt").read_text() + "\r\n").encode("utf-16-le")
    )
    of_table = find_pairs(("audio", folders / "generated"), ("text", folders / "prompts.tsv"))
    of_folder = find_pairs(("audio", folders / "generated"), ("text", tmp_path))
    assert of_table.second == of_folder.second
    assert of_table.second[0] == text("a dog")
    for content, message in [
        ("0 a dog", "name<TAB>sentence"),
        ("0\ta\n0\tb", "a second time"),
        ("", "an empty file; expected name<TAB>sentence on each line$"),
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
