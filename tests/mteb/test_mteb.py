"""bindplug's models in mteb: its own mock tasks, the tasks of the senses, and how recordings are carried."""

from __future__ import annotations

import warnings

import mteb
import numpy as np
import pytest
import torch
from PIL import Image

import bindplug
from bindplug.errors import InputError, UnknownWords
from bindplug.imagebind import ImageBind, save_directory
from bindplug_lab.senses import query_of, recordings
from bindplug_mteb import TASKS, senses_tasks, wrap
from bindplug_mteb.carrying import CARRIERS, pack, unpack
from bindplug_mteb.tasks import sensors_of
from tests.small import SMALL

pytestmark = pytest.mark.filterwarnings("ignore")  # mteb and scikit-learn warn of small samples


@pytest.fixture(scope="module")
def model():
    return wrap(ImageBind(SMALL).eval(), name="tests/small")


@pytest.fixture(scope="module")
def tiny():
    return wrap("imagebind_tiny")


def evaluate(model, tasks):
    return mteb.evaluate(model, tasks, cache=None, show_progress_bar=False, co2_tracker=False).task_results


# -- the model ------------------------------------------------------------------------------------------------------


def test_a_wrapped_encoder_has_mtebs_protocol_and_metadata(tiny):
    assert isinstance(tiny, mteb.EncoderProtocol)
    meta = tiny.mteb_model_meta
    assert (meta.name, meta.license, meta.embed_dim) == ("bindplug/imagebind_tiny", "apache-2.0", 128)
    assert meta.modalities == ["text", "image", "audio"]
    assert meta.n_parameters == sum(p.numel() for p in tiny.model.parameters())
    assert wrap(ImageBind(SMALL, {"audio"}), name="a/b").mteb_model_meta.modalities == ["audio"]


@pytest.mark.parametrize(
    "name", ["MockSTSTask", "MockZeroShotClassificationTask", "MockAny2AnyRetrievalI2TTask"]
)
def test_mtebs_mock_tasks_run(model, name):
    from mteb import mocks

    (result,) = evaluate(model, [getattr(mocks, name)()])
    assert np.isfinite(result.get_score())


def test_mtebs_mock_sounds_are_heard(model):
    """The mock task of sounds, without torchcodec: its sounds stay the arrays that they are made of."""
    from datasets import Dataset, DatasetDict
    from mteb.mocks import MockAudioZeroshotClassificationTask
    from mteb.mocks.mock_tasks.create_mock_samples import create_mock_audio

    class Sounds(MockAudioZeroshotClassificationTask):
        def load_data(self, **options):
            data = {"audio": create_mock_audio(np.random.default_rng(0)), "label": [0, 1]}
            self.dataset = DatasetDict({"test": Dataset.from_dict(data)})
            self.data_loaded = True

    (result,) = evaluate(model, [Sounds()])
    assert np.isfinite(result.get_score())


@pytest.mark.slow
def test_every_mock_task_of_text_and_images_runs(model):
    results = mteb.mock_run(model)
    assert results.all_passed, results.to_markdown()
    assert sum(status is not None for _, status in results.items()) > 30


def test_rows_are_those_of_embed(tiny):
    from mteb.mocks import MockSTSTask

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownWords)
        rows = tiny.encode(
            [{"text": ["a dog", "a train"]}, {"text": ["rain"]}],
            task_metadata=MockSTSTask.metadata,
            hf_split="test",
            hf_subset="default",
        )
        expected = tiny.model.embed([bindplug.text(t) for t in ("a dog", "a train", "rain")], progress=False)
    assert np.allclose(rows, expected.numpy(), atol=1e-5)


def test_a_picture_with_a_text_is_their_sum(tiny):
    from mteb.mocks import MockSTSTask

    picture = Image.fromarray(recordings("image", 1)[0].values())
    rows = tiny.encode(
        [{"image": [picture], "text": ["a dog"]}],
        task_metadata=MockSTSTask.metadata,
        hf_split="test",
        hf_subset="default",
    )
    query = bindplug.text("a dog") + bindplug.image(picture)
    assert np.allclose(rows, tiny.model.embed([query], progress=False).numpy(), atol=1e-5)


def encode(model, batch, task="MockSTSTask"):
    from mteb.mocks import MockSTSTask

    metadata = MockSTSTask.metadata.model_copy(update={"name": task})
    return model.encode([batch], task_metadata=metadata, hf_split="test", hf_subset="default")


def test_a_batch_that_the_model_cannot_read_is_refused(model):
    deaf = wrap(ImageBind(SMALL, {"image"}).eval(), name="tests/deaf")
    for batch, task, message in [
        ({"text": ["a"]}, "Some", "Some: items of text; expected what the model reads.*: image$"),
        ({"image": [1], "label": [0]}, "BindplugSenses1DepthToText", "items of depth; .*: image$"),
        ({"video": [1]}, "Some", "items of video"),
        ({"image": [None]}, "Some", "an item that is empty"),
    ]:
        with pytest.raises(InputError, match=message):
            encode(deaf, batch, task)


@pytest.mark.filterwarnings("error")
def test_columns_that_the_model_cannot_read_are_told_of_and_blank_ones_left_out():
    picture = Image.fromarray(recordings("image", 1)[0].values())
    deaf = wrap(ImageBind(SMALL, {"image"}).eval(), name="tests/deaf")
    with pytest.warns(UserWarning, match="Some: text left out of its items"):
        rows = encode(deaf, {"image": [picture], "text": ["a dog"]}, "Some")
    assert np.allclose(rows, encode(deaf, {"image": [picture]}))
    reader = wrap(ImageBind(SMALL, {"image", "text"}).eval(), name="tests/reader")
    rows = encode(reader, {"image": [picture, None], "text": [None, "a dog"]})
    assert np.allclose(rows[:1], encode(reader, {"image": [picture]}), atol=1e-6)
    assert np.allclose(rows[1:], encode(reader, {"text": ["a dog"]}), atol=1e-6)


def test_results_of_other_weights_are_not_found_again(tmp_path):
    from mteb.mocks import MockSTSTask

    first, second, copy_of_first = ImageBind(SMALL).eval(), ImageBind(SMALL).eval(), ImageBind(SMALL).eval()
    copy_of_first.load_state_dict(first.state_dict())
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    revisions = [wrap(m, name="tests/one").mteb_model_meta.revision for m in (first, second, copy_of_first)]
    assert revisions[0] == revisions[2] != revisions[1]
    cache = mteb.ResultCache(tmp_path)
    options = {"cache": cache, "show_progress_bar": False, "co2_tracker": False}
    scores = [
        mteb.evaluate(wrap(m, name="tests/one"), [MockSTSTask()], **options).task_results[0].get_score()
        for m in (first, second, copy_of_first)
    ]
    assert scores[0] == pytest.approx(scores[2])
    assert len(list(tmp_path.rglob("MockSTSTask.json"))) == 2


def test_names_have_an_organization(tmp_path):
    network = ImageBind(SMALL)
    with pytest.raises(InputError, match="organization/model"):
        wrap(network, name="small")
    assert wrap(network).mteb_model_meta.name == "bindplug/imagebind-unnamed"
    path = save_directory(network, tmp_path / "my ear", license="Apache-2.0")
    assert wrap(path).mteb_model_meta.name.endswith("my-ear")


def test_a_model_of_depth_alone_takes_the_tasks_of_depth():
    seeing = wrap(ImageBind(SMALL, {"depth", "text"}).eval(), name="tests/depth")
    assert seeing.mteb_model_meta.modalities == ["text", "image"]
    (result,) = evaluate(seeing, senses_tasks(["BindplugSenses1DepthToText"], count=2))
    assert np.isfinite(result.get_score())


# -- carrying -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sensor", CARRIERS)
def test_recordings_arrive_as_they_were_sent(sensor, tiny):
    item = recordings(sensor, 3)[2]
    values = item.values()
    packed = pack(sensor, values)
    if CARRIERS[sensor] == "image":
        packed = Image.fromarray(np.asarray(packed.convert("RGB")))  # as mteb converts every image
    else:
        packed = {"array": packed["array"].tolist(), "sampling_rate": packed["sampling_rate"]}
    rows = tiny.model.embed([query_of(item), unpack(sensor, packed)], progress=False)
    assert float(rows[0] @ rows[1]) > 0.999


def test_distances_keep_millimeters_and_temperatures_a_fiftieth_of_a_degree():
    depth = np.linspace(0.1, 60, 64, dtype=np.float32).reshape(8, 8)
    packed = np.asarray(pack("depth", depth), dtype=np.float64)
    assert np.abs((packed[..., 0] * 256 + packed[..., 1]) * 0.001 - depth).max() < 0.0006
    heat = np.linspace(-40, 400, 64, dtype=np.float32).reshape(8, 8)
    packed = np.asarray(pack("thermal", heat), dtype=np.float64)
    assert np.abs((packed[..., 0] * 256 + packed[..., 1]) * 0.02 - 273.15 - heat).max() < 0.011


@pytest.mark.parametrize("values", [[[70.0]], [[-0.1]], [[np.nan]]], ids=["far", "behind", "nan"])
def test_what_does_not_fit_is_refused(values):
    with pytest.raises(InputError, match="depth"):
        pack("depth", np.array(values))


def test_other_audio_is_refused():
    with pytest.raises(InputError, match="array and sampling_rate"):
        unpack("audio", "song.wav")


def test_decoders_of_torchcodec_are_read():
    class Samples:
        data, sample_rate = np.ones((2, 16_000), dtype=np.float32) * 0.1, 16_000

    class Decoder:
        def get_all_samples(self):
            return Samples()

    query = unpack("audio", Decoder())
    assert [leaf.modality.value for _, leaf in query.terms] == ["audio"]


# -- tasks of the senses --------------------------------------------------------------------------------------------


def test_each_task_says_what_carries_what():
    assert len({task.name for task in TASKS}) == len(TASKS) == 10
    assert sensors_of("BindplugSenses1HeatToText") == {"text": "text", "image": "thermal", "audio": "audio"}
    assert sensors_of("SomeoneElses")["image"] == "image"
    assert sensors_of("BindplugSenses1HeatToText-40")["image"] == "thermal"
    assert [task.metadata.name for task in senses_tasks()] == [task.name for task in TASKS]
    for task in senses_tasks(count=1):
        assert task.metadata.name.endswith("-1")
        assert "test" in task.metadata.eval_splits
        assert task.metadata.category[0] in "ia"


@pytest.mark.parametrize(
    ("name", "chance"),
    [("BindplugSenses1HeatToText", 0.05), ("BindplugSenses1MotionToSound", 0.125)],
)
def test_imagebind_tiny_is_far_above_chance(tiny, name, chance):
    (result,) = evaluate(tiny, senses_tasks([name], count=40))
    assert result.get_score() > 3 * chance


def test_tasks_hold_the_benchmarks_recordings():
    (task,) = senses_tasks(["BindplugSenses1MotionToText"], count=8)
    task.load_data()
    data = task.dataset["test"]
    assert data["label"] == list(range(8))
    assert task.get_candidate_labels()[0] == "a photo of horse."
    assert np.allclose(data[0]["audio"]["array"], recordings("imu", 1)[0].values().reshape(-1))


@pytest.mark.parametrize(("arguments", "message"), [({"names": ["Nope"]}, "Nope"), ({"count": 0}, "count")])
def test_unknown_tasks_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        senses_tasks(**arguments)
