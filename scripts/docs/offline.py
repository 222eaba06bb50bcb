"""A hook of mkdocs: searching works in pages opened from disk, and the pages ask nothing of other servers.

Browsers start no worker from disk. Material's remedy is a script that is fetched from a server; ours is part of the
page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

FETCHED = re.compile(r'<script src="https://unpkg\.com/iframe-worker/shim"></script>')
WORKER = (Path(__file__).parent / "worker_from_disk.js").read_text(encoding="utf-8")
ASKS = re.compile(
    r'<(?:script|img|iframe)[^>]+src="?https?:|<link[^>]+rel="?(?:stylesheet|preconnect)[^>]+https?:'
)


def on_post_page(output: str, **_: Any) -> str:
    """The page with the script inside."""
    return local(output)


def on_post_template(output_content: str, *, template_name: str, **_: Any) -> str:
    """Likewise the theme's own page, for addresses that do not exist."""
    return local(output_content) if template_name.endswith(".html") else output_content


def local(page: str) -> str:
    """``page`` (HTML) without anything that is fetched from elsewhere.

    Raises:
        ValueError: it still asks for something.
    """
    page = FETCHED.sub(lambda _: f"<script>\n{WORKER}</script>", page)
    if found := ASKS.search(page):
        raise ValueError(f"the page asks another server for something: {found[0]}")
    return page
