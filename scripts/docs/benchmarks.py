"""Writes the tasks' tables into docs/benchmarks.md: ``python scripts/docs/benchmarks.py``."""

from __future__ import annotations

from pathlib import Path

from bindplug_lab.tasks import Task, list_tasks

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- tasks: written by scripts/docs/benchmarks.py -->", "<!-- end of tasks -->"
PROTOCOLS = {
    "zero_shot": "zero-shot",
    "multi_label": "zero-shot, several labels",
    "retrieval": "retrieval",
    "few_shot": "few-shot",
    "arithmetic_retrieval": "retrieval by sums",
    "cross_sensor_retrieval": "retrieval across sensors",
}


def tables() -> str:
    """One table of all tasks that read a person's data, and a section on the files of each data set."""
    tasks = [task for task in list_tasks() if task.needs_data]
    rows = [
        "| task | data | protocol | senses | main metric | items | ImageBind | chance |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task in tasks:
        name = f"[`{task.name}`](#{anchor(task)})"
        metric = task.metrics[0]
        figures = [figure(task, model) for model in ("imagebind_huge", "chance")]
        cells = [
            name,
            task.title,
            PROTOCOLS[task.protocol],
            ", ".join(task.modalities),
            metric,
            f"{task.size:,}",
            *figures,
        ]
        rows.append("| " + " | ".join(cells) + " |")
    sections, met = [], set()
    for task in tasks:
        if task.folder not in met:
            met.add(task.folder)
            sections.append(section([other for other in tasks if other.folder == task.folder]))
    return "\n".join(rows) + "\n\n## Where to get the data\n\n" + "\n\n".join(sections)


def figure(task: Task, model: str) -> str:
    """A published figure of the main metric."""
    values = [e.value for e in task.published if e.model == model and e.metric == task.metrics[0]]
    return f"{values[0]:g}" if values else "–"


def anchor(task: Task) -> str:
    """Of the section on the task's files."""
    return next(other for other in list_tasks() if other.folder == task.folder).name


def section(tasks: list[Task]) -> str:
    """The files of one data set."""
    first = tasks[0]
    lines = [f"### {first.name}", ""]
    names = ", ".join(f"`{task.name}`" for task in tasks)
    lines += [f"{names}. Get it from <{first.url}>. Terms: {first.terms}.", "", f"{first.citation}.", ""]
    lines += ["```text", first.layout, "```", ""]
    for task in tasks:
        published = "; ".join(
            f"{entry.model} {entry.value:g} {entry.metric}"
            + (f" {entry.direction.replace('_', ' ')}" if entry.direction else "")
            + f" ({entry.source})"
            for entry in task.published
        )
        parts = [task.notes, f"Published: {published}." if published else ""]
        text = " ".join(part for part in parts if part)
        lines.append(f"- `{task.name}`: {text}")
    return "\n".join(lines)


def written(text: str) -> str:
    """The page with its tables renewed."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{tables()}\n\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
