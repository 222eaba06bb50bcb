"""An extension of griffe: docstrings as Markdown, with fences around their code and without Sphinx's roles."""

from __future__ import annotations

import ast
import re
import textwrap
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|meth|func|data|attr|mod):`~?([^`]+)`")
SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields|Source|Note|Example)s?:\s*$", re.MULTILINE)
JOINED = re.compile(r"^(?P<indent> {4,})(?P<names>\w+(?:, \w+)+):(?= )", re.MULTILINE)
"""Arguments that are explained together, ``height, width: in pixels``."""
TREE = "├└│"


class Docstrings(griffe.Extension):
    """Rewrites every docstring as it is collected."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Of modules, classes, functions and attributes alike."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """A docstring whose code stands in fences; sections such as ``Args:`` stay as they are."""
    found = SECTION.search(docstring)
    prose, sections = (docstring[: found.start()], docstring[found.start() :]) if found else (docstring, "")
    paragraphs = re.split(r"\n\s*\n", prose.strip("\n"))
    fenced = [paragraphs[0], *(_fenced(paragraph) for paragraph in paragraphs[1:])]
    joined = "\n\n".join(fenced).replace("\n```\n\n```python\n", "\n\n")
    return ROLE.sub(r"`\1`", f"{joined}\n\n{_separated(sections)}")


def _separated(sections: str) -> str:
    """Each argument on a line of its own: griffe reads one name a line, and the last keeps the text."""
    arguments, raises, rest = sections.partition("\nRaises:")

    def split(found: re.Match[str]) -> str:
        *others, last = found["names"].split(", ")
        lines = [f"{found['indent']}{name}: With `{last}`, see there." for name in others]
        return "\n".join([*lines, f"{found['indent']}{last}:"])

    return JOINED.sub(split, arguments) + raises + rest


def _fenced(paragraph: str) -> str:
    code = textwrap.dedent(paragraph).replace("\b\n", "")
    if any(mark in code for mark in TREE):
        return f"```text\n{code}\n```"
    return f"```python\n{code}\n```" if _is_code(code) else paragraph


def _is_code(paragraph: str) -> bool:
    """Whether it parses as Python and does something; one plain word would parse, too."""
    try:
        body = ast.parse(paragraph).body
    except SyntaxError:
        return False
    return any(not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call) for node in body)
