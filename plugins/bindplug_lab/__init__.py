"""Experiments: binding towers, evaluating, few-shot curves, ablations, judging image encoders, scores.

import bindplug_lab

evaluation = bindplug_lab.evaluate("imagebind_tiny", "esc50", data="/data")
evaluation.results[0].metrics["accuracy"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bindplug.lazy import lazy_names

if TYPE_CHECKING:
    from bindplug_lab.evaluation.results import Result, Settings
    from bindplug_lab.evaluation.run import Evaluation, evaluate
    from bindplug_lab.few_shot.curve import Curve
    from bindplug_lab.few_shot.run import FewShot, few_shot_curve
    from bindplug_lab.scoring.metric import ImageBindScore
    from bindplug_lab.statistics import Interval
    from bindplug_lab.tasks import Task, list_tasks, load_task

__all__ = [
    "Curve",
    "Evaluation",
    "FewShot",
    "ImageBindScore",
    "Interval",
    "Result",
    "Settings",
    "Task",
    "evaluate",
    "few_shot_curve",
    "list_tasks",
    "load_task",
]

_MODULES = {
    "Curve": "few_shot.curve",
    "Evaluation": "evaluation.run",
    "FewShot": "few_shot.run",
    "ImageBindScore": "scoring.metric",
    "Interval": "statistics",
    "Result": "evaluation.results",
    "Settings": "evaluation.results",
    "Task": "tasks",
    "evaluate": "evaluation.run",
    "few_shot_curve": "few_shot.run",
    "list_tasks": "tasks",
    "load_task": "tasks",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES, __all__)
