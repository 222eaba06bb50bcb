"""The senses benchmark as tasks of mteb: depth, heat, motion and sound, and retrieval across sensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTask
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.abstasks.zeroshot_classification import AbsTaskZeroShotClassification
from mteb.types import PromptType

from bindplug.errors import InputError
from bindplug_lab import Recording, class_names_of, recordings, things_of
from bindplug_mteb.carrying import CARRIERS, pack

PREFIX = "BindplugSenses1"
PROMPT = "a photo of {}."
COUNT = 500
_LETTERS = {"image": "i", "audio": "a"}
_WORDS = {"audio": "Sound", "depth": "Depth", "thermal": "Heat", "imu": "Motion", "image": "Image"}


@dataclass(frozen=True)
class SensesTask:
    """One task of the benchmark.

    Attributes:
        query: the sensor that recorded the queries, or what is classified.
        document: the sensor that recorded what is searched; empty for classification by names.
    """

    query: str
    document: str = ""

    @property
    def name(self) -> str:
        """What mteb calls it, such as ``"BindplugSenses1SoundToDepth"``."""
        return f"{PREFIX}{_WORDS[self.query]}" + (f"To{_WORDS[self.document]}" if self.document else "ToText")


TASKS = (
    *(SensesTask(sensor) for sensor in ("audio", "depth", "thermal", "imu")),
    SensesTask("audio", "depth"),
    SensesTask("depth", "audio"),
    SensesTask("audio", "imu"),
    SensesTask("imu", "audio"),
    SensesTask("depth", "thermal"),
    SensesTask("thermal", "audio"),
)
_BY_NAME = {task.name: task for task in TASKS}


def sensors_of(name: str, prompt_type: PromptType | None = None) -> Mapping[str, str]:
    """For each of mteb's modalities the sensor that it carries in a task.

    Args:
        name: of the task, perhaps with its number of recordings; in tasks of others, an image is an image and a sound a
            sound.
        prompt_type: queries or documents.
    """
    sensors = {"text": "text", "image": "image", "audio": "audio"}
    task = _BY_NAME.get(name.partition("-")[0])
    if task is None:
        return sensors
    sensor = task.document if prompt_type == PromptType.document and task.document else task.query
    return sensors | {CARRIERS[sensor]: sensor}


def senses_tasks(names: Sequence[str] | None = None, *, count: int = COUNT) -> list[AbsTask]:
    """Tasks of the benchmark for ``mteb.evaluate(model, tasks)``; nothing is downloaded.

    Args:
        names: of :data:`TASKS`; all for None.
        count: recordings of each sensor. Tasks of another number than the benchmark's have it in their name, as
            ``"BindplugSenses1MotionToText-40"``, so that mteb's cache does not confuse their results.

    Raises:
        InputError: there is no such task, or ``count`` is below 1.
    """
    if count < 1:
        raise InputError("senses_tasks: count", found=str(count), expected="1 or more")
    unknown = [name for name in names or () if name not in _BY_NAME]
    if unknown:
        raise InputError("senses_tasks", found=repr(unknown[0]), expected=f"one of {', '.join(_BY_NAME)}")
    tasks = [_BY_NAME[name] for name in names] if names is not None else TASKS
    return [(_retrieval if task.document else _classification)(task, count) for task in tasks]


def _metadata(task: SensesTask, count: int, description: str, **fields: Any) -> TaskMetadata:
    return TaskMetadata(
        name=task.name if count == COUNT else f"{task.name}-{count}",
        description=description,
        reference=None,
        dataset={"path": "bindplug/senses-v1", "revision": "1"},
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        date=("2026-01-01", "2026-12-31"),
        domains=["Scene"],
        task_subtypes=[],
        license="apache-2.0",
        annotations_creators="derived",
        dialect=[],
        sample_creation="created",
        bibtex_citation="",
        is_public=True,
        **fields,
    )


def _columns(items: Sequence[Recording], carrier: str) -> dict[str, list[Any]]:
    return {carrier: [pack(item.sensor, item.values()) for item in items]}


def _classification(task: SensesTask, count: int) -> AbsTask:
    carrier, things = CARRIERS[task.query], things_of(task.query)

    class Classification(AbsTaskZeroShotClassification):
        input_column_name = carrier
        metadata = _metadata(
            task,
            count,
            f"Names of things by {task.query}, on scenes of bindplug's toy world.",
            type="AudioZeroshotClassification" if carrier == "audio" else "ZeroShotClassification",
            category=f"{_LETTERS[carrier]}2t",
            modalities=[carrier, "text"],
            main_score="accuracy",
        )

        def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
            """Make the scenes."""
            if self.data_loaded:
                return
            items = recordings(task.query, count)
            labels = [things.index(item.things[0]) for item in items]
            data = Dataset.from_dict(_columns(items, carrier) | {"label": labels})
            self.dataset = DatasetDict({"test": data})
            self.data_loaded = True

        def get_candidate_labels(self) -> list[str]:
            """A prompt for each thing."""
            return [PROMPT.format(name) for name in class_names_of(task.query)]

    return Classification()


def _retrieval(task: SensesTask, count: int) -> AbsTask:
    query, document = CARRIERS[task.query], CARRIERS[task.document]

    class Retrieval(AbsTaskRetrieval):
        metadata = _metadata(
            task,
            count,
            f"Recordings by {task.document} of the thing that {task.query} recorded, in bindplug's toy world.",
            type="Any2AnyRetrieval",
            category=f"{_LETTERS[query]}2{_LETTERS[document]}",
            modalities=sorted({query, document}),
            main_score="precision_at_1",
        )

        def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
            """Make the scenes."""
            if self.data_loaded:
                return
            common = set(things_of(task.query)) & set(things_of(task.document))
            queries, corpus = (
                [item for item in recordings(sensor, count) if item.things[0] in common]
                for sensor in (task.query, task.document)
            )
            names = {thing: [item.name for item in corpus if item.things[0] == thing] for thing in common}
            queries = [item for item in queries if names[item.things[0]]]
            self.queries = DatasetDict({"test": _dataset(queries, query)})
            self.corpus = DatasetDict({"test": _dataset(corpus, document)})
            self.relevant_docs = {
                "test": {item.name: dict.fromkeys(names[item.things[0]], 1) for item in queries}
            }
            self.data_loaded = True

    return Retrieval()


def _dataset(items: Sequence[Recording], carrier: str) -> Dataset:
    ids = [item.name for item in items]
    return Dataset.from_dict({"id": ids, "modality": [carrier] * len(ids)} | _columns(items, carrier))
