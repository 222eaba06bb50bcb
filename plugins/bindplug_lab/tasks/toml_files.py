"""Tasks in TOML files: read strictly, so that a misspelt key never changes what is measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bindplug.errors import InputError
from bindplug.modality import Modality
from bindplug.templates import GENERIC_TEMPLATES, OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES
from bindplug_lab.datasets.registry import READERS
from bindplug_lab.tasks.task import PROTOCOLS, Published, Task
from bindplug_lab.toml_files import read_toml

__all__ = ["TEMPLATES", "read_task"]

TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "openai_imagenet": OPENAI_IMAGENET_TEMPLATES,
    "simple_imagenet": SIMPLE_IMAGENET_TEMPLATES,
    "generic": GENERIC_TEMPLATES,
}
"""Prompt templates by the name that a TOML may have in place of a list. ImageBind has CLIP's 80 for each modality."""

CLASS_METRICS = ("accuracy", "accuracy@5", "mean_class_accuracy")
RECALL = re.compile(r"recall@[1-9]\d{0,4}")
METRICS: Mapping[str, tuple[str, ...]] = {
    "zero_shot": CLASS_METRICS,
    "multi_label": ("mAP",),
    "few_shot": CLASS_METRICS,
}
"""Metrics by protocol; retrieval has ``recall@K`` for any K."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
REQUIRED = ("name", "title", "protocol", "modalities", "metrics", "data")
OPTIONAL = (
    "templates", "shots", "support", "synonyms", "published", "folder", "size", "url", "terms", "layout", "citation",
    "notes", "groups",
)  # fmt: skip
PUBLISHED = ("model", "metric", "value", "source", "direction")


def read_task(path: Path) -> Task:
    """The task of a TOML file.

    Raises:
        InputError: it is missing, damaged, has an unknown key, lacks one, or a value is not allowed; names the file and
            the key.
    """
    table = _Table(read_toml(path, "a TOML file of a task"), str(path))
    table.check_keys((*REQUIRED, *OPTIONAL), REQUIRED)
    name = table.text("name")
    if not NAME.fullmatch(name):
        raise table.wrong("name", "letters, digits, '.', '_' and '-'")
    protocol = table.choice("protocol", PROTOCOLS)
    data = table.table("data")
    data.check_keys(None, ("reader",))
    reader = data.choice("reader", READERS)
    options = {key: value for key, value in data.content.items() if key != "reader"}
    READERS[reader].check_complete(options, reader, data.source)
    support = table.table("support") if "support" in table.content else None
    if (support is not None) != (protocol == "few_shot"):
        found = (
            "no table 'support'" if support is None else f"a table 'support' with the protocol {protocol!r}"
        )
        raise InputError(str(path), found=found, expected="one with the protocol 'few_shot' alone")
    if support is not None:
        READERS[reader].check(support.content, reader, support.source)
    metrics = _metrics(table, protocol)
    return Task(
        name=name,
        title=table.text("title"),
        protocol=protocol,
        modalities=tuple(table.texts("modalities", [modality.value for modality in Modality])),
        metrics=metrics,
        reader=reader,
        options=options,
        support={} if support is None else dict(support.content),
        shots=_shots(table, protocol),
        templates=_templates(table, protocol),
        synonyms=_synonyms(table, protocol),
        published=_published(table, metrics),
        folder=table.text("folder", ""),
        size=table.number("size", 0),
        url=table.text("url", ""),
        terms=table.text("terms", ""),
        layout=table.text("layout", "", strip=False),
        citation=table.text("citation", ""),
        notes=table.text("notes", ""),
        groups=tuple(table.texts("groups")) if "groups" in table.content else (),
        source=str(path),
    )


class _Table:
    """A table of a TOML file whose values are checked as they are taken."""

    def __init__(self, content: Mapping[str, Any], source: str) -> None:
        self.content, self.source = content, source

    def wrong(self, key: str, expected: str, remedy: str = "") -> InputError:
        value = repr(self.content[key])
        found = f"{key} = {value if len(value) <= 80 else value[:77] + '...'}"
        return InputError(self.source, found=found, expected=expected, remedy=remedy)

    def check_keys(self, allowed: Collection[str] | None, required: Collection[str]) -> None:
        for key in self.content:
            if allowed is not None and key not in allowed:
                close = get_close_matches(key, allowed, 1)
                raise InputError(
                    self.source,
                    found=f"an unknown key {key!r}",
                    expected=f"some of {', '.join(allowed)}",
                    remedy=f"Did you mean {close[0]!r}?" if close else "",
                )
        for key in required:
            if key not in self.content:
                raise InputError(
                    self.source, found=f"no key {key!r}", expected=f"the keys {', '.join(required)}"
                )

    def text(self, key: str, default: str | None = None, *, strip: bool = True) -> str:
        if key not in self.content and default is not None:
            return default
        value = self.content[key]
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(key, "a text that is not blank")
        return value.strip() if strip else value.strip("\n")

    def choice(self, key: str, choices: Collection[str]) -> str:
        value = self.content[key]
        if not isinstance(value, str) or value not in choices:
            close = get_close_matches(str(value), choices, 1)
            raise self.wrong(
                key, f"one of {', '.join(choices)}", f"Did you mean {close[0]!r}?" if close else ""
            )
        return value

    def number(self, key: str, default: int) -> int:
        value = self.content.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.wrong(key, "a whole number, at least 0")
        return value

    def texts(self, key: str, choices: Collection[str] | None = None) -> list[str]:
        values = self.content[key]
        allowed = f"of {', '.join(choices)}" if choices else "of texts"
        if (
            not isinstance(values, list)
            or not values
            or not all(isinstance(v, str) and v.strip() for v in values)
        ):
            raise self.wrong(key, f"a list {allowed}, not empty")
        if len(set(values)) < len(values):
            raise self.wrong(key, "each value once")
        if choices is not None and not set(values) <= set(choices):
            raise self.wrong(key, f"a list {allowed}")
        return list(values)

    def table(self, key: str) -> _Table:
        value = self.content[key]
        if not isinstance(value, dict):
            raise self.wrong(key, f"a table, [{key}]")
        return _Table(value, f"{self.source}, [{key}]")


def _metrics(table: _Table, protocol: str) -> tuple[str, ...]:
    names = table.texts("metrics")
    allowed = METRICS.get(protocol)
    if allowed is None and not all(RECALL.fullmatch(name) for name in names):
        raise table.wrong("metrics", f"recall@1, recall@10 and the like for the protocol {protocol!r}")
    if allowed is not None and not set(names) <= set(allowed):
        raise table.wrong("metrics", f"some of {', '.join(allowed)} for the protocol {protocol!r}")
    return tuple(names)


def _templates(table: _Table, protocol: str) -> tuple[str, ...]:
    is_prompted = protocol in ("zero_shot", "multi_label")
    value = table.content.get("templates", "openai_imagenet" if is_prompted else None)
    if value is None:
        return ()
    if isinstance(value, str):
        return TEMPLATES[_Table({"templates": value}, table.source).choice("templates", TEMPLATES)]
    templates = table.texts("templates")
    wrong = [template for template in templates if template.count("{}") != 1 or template.count("{") != 1]
    if wrong:
        raise InputError(
            table.source, found=f"the template {wrong[0]!r}", expected="{} once, for the class name"
        )
    return tuple(templates)


def _shots(table: _Table, protocol: str) -> tuple[int, ...]:
    if "shots" not in table.content:
        return (1, 2, 4, 8) if protocol == "few_shot" else ()
    if protocol != "few_shot":
        raise table.wrong("shots", "the protocol 'few_shot' beside it")
    values = table.content["shots"]
    is_valid: Callable[[object], bool] = lambda v: isinstance(v, int) and not isinstance(v, bool) and v > 0  # noqa: E731
    if (
        not isinstance(values, list)
        or not values
        or not all(map(is_valid, values))
        or len(set(values)) < len(values)
    ):
        raise table.wrong("shots", "a list of whole numbers, each at least 1 and once")
    return tuple(sorted(values))


def _synonyms(table: _Table, protocol: str) -> dict[str, tuple[str, ...]]:
    if "synonyms" not in table.content:
        return {}
    if protocol not in ("zero_shot", "multi_label"):
        raise table.wrong("synonyms", "the protocol 'zero_shot' or 'multi_label' beside it")
    inner = table.table("synonyms")
    return {name: tuple(inner.texts(name)) for name in inner.content}


def _published(table: _Table, metrics: tuple[str, ...]) -> tuple[Published, ...]:
    entries = table.content.get("published", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise table.wrong("published", "tables, [[published]]")
    figures = []
    for number, entry in enumerate(entries, start=1):
        inner = _Table(entry, f"{table.source}, [[published]] {number}")
        inner.check_keys(PUBLISHED, PUBLISHED[:4])
        value = inner.content["value"]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
            raise inner.wrong("value", "a percentage, 0 to 100")
        figures.append(
            Published(
                inner.text("model"),
                inner.choice("metric", metrics),
                float(value),
                inner.text("source"),
                inner.text("direction", ""),
            )
        )
    return tuple(figures)
