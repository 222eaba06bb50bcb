"""A hook of mkdocs: the cards of the bundled weights, where a page says ``<!-- cards -->``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).parents[2] / "plugins" / "bindplug_toyworld" / "weights"
PLACE = "<!-- cards -->"
LONG_TABLES = re.compile(r"^(## Confusion matrices|A row is the truth)", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with every bundled card in that place, a level of headings deeper."""
    if PLACE not in markdown:
        return markdown
    cards = sorted(WEIGHTS.glob("*/README.md"))
    if not cards:
        raise FileNotFoundError(f"no cards in {WEIGHTS}")
    return markdown.replace(PLACE, "\n\n".join(shortened(card.read_text(encoding="utf-8")) for card in cards))


def shortened(card: str) -> str:
    """A card without its confusion matrices, which are too long for a page of several cards."""
    return re.sub(r"^#", "##", LONG_TABLES.split(card)[0], flags=re.MULTILINE).rstrip()
