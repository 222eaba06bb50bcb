"""The pages of the documentation, and the pieces of code in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
README = ROOT / "README.md"
FENCE = re.compile(
    r"^(?P<ticks>```+)(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=ticks)\s*$", re.DOTALL | re.MULTILINE
)
MARKER = re.compile(r"<!-- snippet: (.+?) -->\s*\Z")


@dataclass(frozen=True)
class Snippet:
    """A fenced block.

    Attributes:
        page: where it stands.
        line: of its first line of code.
        language: as the fence says.
        code: its text.
        marker: what the comment before it says, e.g. ``"needs weights"``; empty without one.
    """

    page: Path
    line: int
    language: str
    code: str
    marker: str

    @property
    def place(self) -> str:
        """``docs/page.md:12``."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets(page: Path, *languages: str) -> list[Snippet]:
    """The page's fenced blocks, in order; of these languages only, where any are given."""
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in FENCE.finditer(text):
        marker = MARKER.search(text[: fence.start()])
        line = text[: fence.start("code")].count("\n") + 1
        found.append(Snippet(page, line, fence["language"], fence["code"], marker[1] if marker else ""))
    return [snippet for snippet in found if not languages or snippet.language in languages]


def prose(page: Path) -> str:
    """The page without its code."""
    return re.sub(r"`[^`\n]+`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
