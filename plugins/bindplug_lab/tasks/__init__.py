"""Tasks as data: what a benchmark asks, of which files, by which metric, and which figures are published.

from bindplug_lab.tasks import load_task

task = load_task("esc50")
items = task.items("/data/ESC-50-master")     # LabeledItems: queries, labels, class names, folds
"""

from bindplug_lab.tasks.catalog import list_tasks, load_task, load_tasks
from bindplug_lab.tasks.items import FewShotItems, Items, LabeledItems, PairedItems, Queries
from bindplug_lab.tasks.task import PROTOCOLS, Published, Task

__all__ = [
    "PROTOCOLS",
    "FewShotItems",
    "Items",
    "LabeledItems",
    "PairedItems",
    "Published",
    "Queries",
    "Task",
    "list_tasks",
    "load_task",
    "load_tasks",
]
