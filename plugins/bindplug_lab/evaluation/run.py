"""Evaluating models on tasks: what is measured already is taken over, and each result is kept at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bindplug import Encoder, list_models, load
from bindplug.errors import BindplugError, InputError
from bindplug_lab.evaluation.cache import RowCache
from bindplug_lab.evaluation.data import TaskData, digest_of_data, read_data
from bindplug_lab.evaluation.embedding import Embedder
from bindplug_lab.evaluation.measures import Figure, figures_of
from bindplug_lab.evaluation.protocols import measure_task, modalities_of
from bindplug_lab.evaluation.results import Result, ResultStore, Settings
from bindplug_lab.tasks import Task, load_tasks

__all__ = ["Evaluation", "evaluate"]

FEW = 20
"""Independent observations below which the interval of a mean average precision is too narrow."""

Loader = Callable[[str, "set[str] | None"], Encoder]


@dataclass(frozen=True)
class Evaluation:
    """Results of models on tasks, and the settings they share."""

    results: tuple[Result, ...]
    settings: Settings

    @property
    def skipped(self) -> list[dict[str, Any]]:
        """Items that could not be embedded, each with its task and model."""
        return [
            {"task": result.task, "model": result.model, **item}
            for result in self.results
            for item in result.skipped
        ]

    def result(self, task: str, model: str) -> Result:
        """The result of one model on one task.

        Raises:
            InputError: there is none.
        """
        for result in self.results:
            if (result.task, result.model) == (task, model):
                return result
        raise InputError(
            "Evaluation.result()", found=f"{model!r} on {task!r}", expected="a model and task of the run"
        )


def evaluate(
    models: str
    | os.PathLike[str]
    | Encoder
    | Sequence[str | os.PathLike[str] | Encoder]
    | Mapping[str, Encoder],
    tasks: str | Iterable[str | os.PathLike[str] | Task],
    *,
    data: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    cache: str | os.PathLike[str] | RowCache | None = None,
    strict: bool = False,
    overwrite: bool = False,
    batch_size: int = 32,
    workers: int | None = None,
    quiet: bool | None = None,
    loader: Loader | None = None,
    on_result: Callable[[Result, bool], None] | None = None,
) -> Evaluation:
    """Evaluate models on tasks, with intervals.

    Args:
        models: what :func:`bindplug.load` takes, or encoders; several as a sequence, or by the names that results
            give them.
        tasks: as :func:`bindplug_lab.tasks.load_tasks` takes them: ``"esc50,audiocaps"``, paths of TOML files, tasks.
        data: folder of the data sets, each in a folder of its own or one alone; procedural tasks need none.
        output: directory of results. What it holds of the same models, files and settings is not measured again.
        settings: limit, seed, resamples; the defaults if None.
        cache: directory for embeddings, or an open one; None keeps none.
        strict: raise at the first item that cannot be embedded; by default it is left out and listed.
        overwrite: measure again what ``output`` holds of other settings, weights or files, instead of refusing.
        batch_size, workers: as in :meth:`bindplug.Encoder.embed`.
        quiet: no progress bars.
        loader: loads a model by name with modalities; :func:`bindplug.load` on the CPU by default.
        on_result: called with each result, and whether it was taken over from ``output``.

    Returns:
        The results, by task and then by model.

    Raises:
        InputError: an unknown task, missing data, labels that are no class, results of other settings, or an item
            that cannot be read, with ``strict``.
        ModalityNotLoaded: never; a model that lacks a task's modality is an :class:`InputError` that names both,
            before anything is measured.
    """
    settings = settings or Settings()
    task_list = load_tasks(tasks)
    models_by_name = _models_by_name(models)
    for name, model in models_by_name.items():
        _check_modalities(name, _modalities_before_loading(name, model), task_list)
    items = {task.name: read_data(task, data, settings) for task in task_list}
    store = None if output is None else ResultStore(output, settings, overwrite=overwrite)
    rows = cache if isinstance(cache, RowCache) or cache is None else RowCache(cache)
    results: dict[tuple[str, str], Result] = {}
    try:
        for name, model in _loaded(models_by_name, task_list, loader or _load):
            embedder = Embedder(model, name, rows, batch_size=batch_size, workers=workers, quiet=quiet)
            for task in task_list:
                result, reused = _result(task, items[task.name], embedder, settings, store, strict)
                results[task.name, name] = result
                if on_result is not None:
                    on_result(result, reused)
    finally:
        if rows is not None and rows is not cache:
            rows.close()
    ordered = [results[task.name, name] for task in task_list for name in models_by_name]
    return Evaluation(tuple(ordered), settings)


def _result(
    task: Task,
    data: TaskData,
    embedder: Embedder,
    settings: Settings,
    store: ResultStore | None,
    strict: bool,
) -> tuple[Result, bool]:
    """The result of a model on a task, and whether an earlier run had it."""
    model_digest = embedder.digest(_measured_modalities(task, embedder.model))
    data_digest = digest_of_data(task, data.items) if store else ""
    if store is not None:
        earlier = store.get(task.name, embedder.name, model_digest, data_digest)
        if earlier is not None and not (strict and earlier.skipped):
            return earlier, True
    start = time.monotonic()
    measurement = measure_task(task, data.items, embedder, strict=strict, seed=settings.seed)
    figures: dict[str, Figure] = {}
    chance: dict[str, float] = {}
    for measure in measurement.measures:
        figures |= figures_of(measure, draws=settings.draws, seed=settings.seed)
        chance |= measure.chance
    result = Result(
        task=task.name,
        title=task.title,
        protocol=task.protocol,
        model=embedder.name,
        metrics={name: figure.interval(settings.level) for name, figure in figures.items()},
        main=_main(task, figures),
        chance=chance,
        published=[vars(figure).copy() for figure in task.published],
        count=measurement.count,
        data_size=data.size,
        published_size=task.size,
        limit=settings.limit if data.is_limited else None,
        skipped=measurement.skipped,
        notes=measurement.notes,
        remarks=[*data.remarks, *measurement.remarks, *_remarks(task, data, figures)],
        model_digest=model_digest,
        data_digest=data_digest,
        version=version("bindplug"),
        seconds=round(time.monotonic() - start, 3),
        draws={name: figure.draws for name, figure in figures.items()},
    )
    if store is not None:
        store.put(result)
    return result, False


def _measured_modalities(task: Task, model: Encoder) -> tuple[str, ...]:
    """The modalities whose rows the figures depend on; few-shot ones stand beside zero-shot where there is text."""
    names = modalities_of(task)
    if task.protocol == "few_shot" and "text" in model.modalities:
        names = tuple(dict.fromkeys((*names, "text")))
    return names


def _main(task: Task, figures: Mapping[str, Figure]) -> str:
    """The name of the figure that the task's first metric is."""
    metric = task.metrics[0]
    names = [name for name in figures if name == metric or name.endswith(f" {metric}")]
    if task.protocol == "few_shot":
        names = [name for name in figures if name.startswith("logistic")][-1:] or names
    return names[0] if names else next(iter(figures))


def _remarks(task: Task, data: TaskData, figures: Mapping[str, Figure]) -> list[str]:
    remarks = []
    remarks += [
        f"the interval of {name}, of only {figure.count} independent observations, is too narrow"
        for name, figure in figures.items()
        if figure.count < FEW and not figure.is_share
    ]
    if task.size and not data.is_limited and data.size != task.size:
        remarks.append(f"the published test set has {task.size} items, this one {data.size}")
    missing = [m for m in task.metrics if not any(n == m or n.endswith(f" {m}") for n in figures)]
    if missing and task.protocol != "few_shot":
        remarks.append(f"too few candidates for {', '.join(missing)}")
    return remarks


def _models_by_name(models: Any) -> dict[str, str | Encoder]:
    """Models by the names that results give them."""
    if isinstance(models, Mapping):
        models_by_name: dict[str, str | Encoder] = dict(models)
    else:
        several = [models] if isinstance(models, (str, os.PathLike, Encoder)) else list(models)
        models_by_name = {}
        for model in several:
            name = (
                str(getattr(model, "model_id", "") or "model") if isinstance(model, Encoder) else str(model)
            )
            if name in models_by_name:
                raise InputError(
                    "models", found=f"{name!r} twice", expected="each model once, or names for them"
                )
            models_by_name[name] = model if isinstance(model, Encoder) else name
    if not models_by_name:
        raise InputError("models", found="none", expected="at least one")
    return models_by_name


def _modalities_before_loading(name: str, model: str | Encoder) -> tuple[str, ...] | None:
    """What a model has, where that is told without loading it."""
    if isinstance(model, Encoder):
        return model.modalities
    for card in list_models():
        if card.name == name:
            return tuple(card.modalities)
    if ":" not in name and not Path(name).expanduser().exists():
        load(name)  # raises: there is no such model, and nothing is to be measured before that is told
    return None


def _check_modalities(name: str, available: Iterable[str] | None, tasks: Sequence[Task]) -> None:
    if available is None:
        return
    available = tuple(available)
    for task in tasks:
        lacking = [modality for modality in modalities_of(task) if modality not in available]
        if lacking:
            raise InputError(
                f"model {name!r}",
                found=f"no {' and no '.join(lacking)}, only {', '.join(available)}",
                expected=f"what task {task.name!r} needs: {', '.join(modalities_of(task))}",
                remedy="Leave the task out, or combine the model with one that has it (bindplug.combine)",
            )


def _loaded(
    named: Mapping[str, str | Encoder], tasks: Sequence[Task], loader: Loader
) -> Iterable[tuple[str, Encoder]]:
    """Each model by its name, loaded when its turn comes."""
    needed = {modality for task in tasks for modality in modalities_of(task)}
    if any(task.protocol == "few_shot" for task in tasks):
        needed.add("text")  # zero-shot stands beside the curve where there is text
    for name, model in named.items():
        if isinstance(model, Encoder):
            yield name, model
            continue
        try:
            encoder = loader(model, needed)
        except BindplugError:
            encoder = loader(model, None)  # a model that lacks a modality; or the same error again
        _check_modalities(name, encoder.modalities, tasks)
        yield name, encoder


def _load(name: str, modalities: set[str] | None) -> Encoder:
    return load(name, modalities=modalities)
