"""bindplug's encoders as mteb models, and the senses benchmark as mteb tasks.

import mteb
from bindplug_mteb import senses_tasks, wrap

mteb.evaluate(wrap("imagebind_tiny"), senses_tasks(), cache=None)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bindplug.lazy import lazy_names

if TYPE_CHECKING:
    from bindplug_mteb.model import BindplugModel, describe, wrap
    from bindplug_mteb.tasks import TASKS, SensesTask, senses_tasks

__all__ = ["TASKS", "BindplugModel", "SensesTask", "describe", "senses_tasks", "wrap"]

_MODULES = {
    "BindplugModel": "model",
    "SensesTask": "tasks",
    "TASKS": "tasks",
    "describe": "model",
    "senses_tasks": "tasks",
    "wrap": "model",
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES, __all__)
