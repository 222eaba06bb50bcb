"""Experiments: binding towers, evaluating, few-shot curves, ablations, judging image encoders, scores.

import bindplug_lab

evaluation = bindplug_lab.evaluate("imagebind_tiny", "esc50", data="/data")
evaluation.results[0].metrics["accuracy"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bindplug.lazy import lazy_names

if TYPE_CHECKING:
    from bindplug_lab.datasets import MissingData
    from bindplug_lab.encoders import ImageEncoder, train_image_encoder
    from bindplug_lab.evaluation.identity import digest_of_model
    from bindplug_lab.evaluation.results import Result, Settings
    from bindplug_lab.evaluation.run import Evaluation, evaluate
    from bindplug_lab.few_shot.curve import Curve
    from bindplug_lab.few_shot.run import FewShot, few_shot_curve
    from bindplug_lab.judging import Judgement, JudgeSettings, judge
    from bindplug_lab.scoring.metric import ImageBindScore
    from bindplug_lab.senses import Recording, class_names_of, query_of, recordings, things_of
    from bindplug_lab.statistics import Interval
    from bindplug_lab.tasks import FewShotItems, LabeledItems, PairedItems, Task, list_tasks, load_task

__all__ = [
    "Curve",
    "Evaluation",
    "FewShot",
    "FewShotItems",
    "ImageBindScore",
    "ImageEncoder",
    "Interval",
    "JudgeSettings",
    "Judgement",
    "LabeledItems",
    "MissingData",
    "PairedItems",
    "Recording",
    "Result",
    "Settings",
    "Task",
    "class_names_of",
    "digest_of_model",
    "evaluate",
    "few_shot_curve",
    "judge",
    "list_tasks",
    "load_task",
    "query_of",
    "recordings",
    "things_of",
    "train_image_encoder",
]

_MODULES = {
    "Curve": "few_shot.curve",
    "Evaluation": "evaluation.run",
    "FewShot": "few_shot.run",
    "FewShotItems": "tasks",
    "ImageBindScore": "scoring.metric",
    "ImageEncoder": "encoders",
    "Interval": "statistics",
    "JudgeSettings": "judging",
    "Judgement": "judging",
    "LabeledItems": "tasks",
    "MissingData": "datasets",
    "PairedItems": "tasks",
    "Recording": "senses",
    "Result": "evaluation.results",
    "Settings": "evaluation.results",
    "Task": "tasks",
    "class_names_of": "senses",
    "digest_of_model": "evaluation.identity",
    "evaluate": "evaluation.run",
    "few_shot_curve": "few_shot.run",
    "judge": "judging",
    "list_tasks": "tasks",
    "load_task": "tasks",
    "query_of": "senses",
    "recordings": "senses",
    "things_of": "senses",
    "train_image_encoder": "encoders",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES, __all__)
