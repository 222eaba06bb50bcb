"""Results as a page: pictures, players of sounds and videos, scores."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

from bindplug.errors import InputError
from bindplug.indexes import IndexMatch
from bindplug_search.pictures import as_data_url, thumbnail

SIDE = 320
"""Pixels of a picture."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
       color: #222; background: #fafafa; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem; }
article { background: white; border: 1px solid #ddd; border-radius: .5rem; padding: .8rem; overflow-wrap: anywhere; }
img, video { width: 100%; border-radius: .3rem; }
audio { width: 100%; }
small { color: #666; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; }
  article { background: #222; border-color: #444; } small { color: #aaa; } }
"""


def write_page(path: Path, title: str, matches: Sequence[IndexMatch]) -> None:
    """Write a page of matches; it plays sounds and videos from where they are.

    Raises:
        InputError: the name does not end in ``.html``, so that it may be that of another file, or it cannot be written.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(
            str(path), found=f"the suffix {path.suffix!r}", expected="a page to write, as results.html"
        )
    cards = "\n".join(_card(place, match) for place, match in enumerate(matches, start=1))
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title><style>{STYLE}</style></head>
<body><h1>{_text(title)}</h1>
<p><small>{len(matches)} results, {time.strftime("%Y-%m-%d %H:%M")}</small></p>
<main>
{cards or "<p>Nothing matches.</p>"}
</main></body></html>
"""
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(
            str(path), found=error.strerror or str(error), expected="a page to write, as results.html"
        ) from None


def _card(place: int, match: IndexMatch) -> str:
    if match.kind == "text":
        body, name = f"<blockquote>{_text(match.path)}</blockquote>", ""
    else:
        address = Path(os.path.abspath(match.path)).as_uri()  # noqa: PTH100 (keeps symbolic links)
        name = f'<a href="{escape(address)}">{_text(Path(match.path).name)}</a><br>'
        body = _body(match, address)
    values = "".join(f"<br>{_text(key)}: {_text(str(value))}" for key, value in match.metadata.items())
    span = "" if match.span is None else f" · {match.span[0]:g}–{match.span[1]:g} s"
    return f"<article>{body}{name}<small>{place}. {match.kind} · {match.score:.3f}{span}{values}</small></article>"


def _body(match: IndexMatch, address: str) -> str:
    time_fragment = "" if match.span is None else f"#t={match.span[0]:g},{match.span[1]:g}"
    source = escape(address + time_fragment)
    if match.kind == "audio":
        return f'<audio controls preload="none" src="{source}"></audio>'
    if match.kind == "video":
        return f'<video controls preload="metadata" src="{source}"></video>'
    picture = thumbnail(match.path, match.kind, SIDE)
    return "" if picture is None else f'<img alt="" src="{as_data_url(picture)}">'


def _text(text: str) -> str:
    """Text of a page; lone surrogates, of names that are not UTF-8, as a question mark in a diamond."""
    return escape(re.sub("[\ud800-\udfff]", "\ufffd", text))
