"""Results as HTML: a wall of pictures, players and plots. All text of files and queries is escaped."""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from bindplug_app.media import Media
from bindplug_app.previews import KINDS, Preview, clean, preview

if TYPE_CHECKING:
    from bindplug.encoder import Encoder
    from bindplug.indexes import IndexMatch

LARGEST_BYTES = 64 << 20
"""Larger files of the index are shown without a picture; sounds and videos are read in parts."""
MOST_PREVIEWS = 400
SHORT_NAME = 80
Stamp = tuple[str, str, tuple[float, float] | None, int, int, str]
"""Path, kind and span of a row, size and time of the file, options of its reader as text."""


class Wall:
    """Matches as cards.

    Args:
        model: whose readers make pictures of files.
        media: gives sounds and videos their addresses.
        show_paths: whether cards tell where a file is, beside its name.
    """

    def __init__(self, model: Encoder, media: Media, *, show_paths: bool = False) -> None:
        self.model, self.media, self.show_paths = model, media, show_paths
        self._previews: OrderedDict[Stamp, Preview | None] = OrderedDict()
        self._lock = Lock()

    def markup(self, matches: Sequence[IndexMatch], options: Sequence[Mapping[str, Any]] = ()) -> str:
        """An ordered list of cards, best first.

        Args:
            matches: the results.
            options: for each match, options of the reader of its file; none by default.
        """
        if not matches:
            return '<p class="bp-empty">Nothing matches. Look among more kinds of files.</p>'
        best = max(matches[0].score, 1e-6)
        cards = "".join(
            self._card(match, max(0.0, match.score) / best, settings)
            for match, settings in zip(matches, options or [{}] * len(matches), strict=True)
        )
        return f'<ol class="bp-wall">{cards}</ol>'

    def _card(self, match: IndexMatch, share: float, options: Mapping[str, Any]) -> str:
        kind = KINDS[match.kind]
        name, body, legend = self._content(match, options)
        span = "" if match.span is None else f" · {match.span[0]:g}–{match.span[1]:g} s"
        facts = [f"{clean(str(key))}: {clean(str(value))}" for key, value in match.metadata.items()]
        if legend:
            facts.insert(0, clean(legend))
        if self.show_paths and match.kind != "text":
            where = f"<code>{clean(match.path)}</code>"
            facts.append(f"<details><summary>Where it is</summary>{where}</details>")
        more = "".join(f"<li>{fact}</li>" for fact in facts)
        return (
            f'<li class="bp-card bp-{match.kind}"><div class="bp-media">{body}</div>'
            f'<div class="bp-facts"><p class="bp-kind">{kind}{span}</p>'
            f"{f'<h3>{clean(name)}</h3>' if name else ''}"
            f'<p class="bp-score"><span class="bp-bar" aria-hidden="true"><span style="width:{share:.0%}"></span>'
            f"</span> score {_rounded(match.score)}</p>"
            f"{f'<ul>{more}</ul>' if more else ''}</div></li>"
        )

    def _content(self, match: IndexMatch, options: Mapping[str, Any]) -> tuple[str, str, str]:
        """Name, HTML of the file or its players, and legend."""
        if match.kind == "text":
            return "", f"<blockquote>{clean(match.path)}</blockquote>", ""
        name = short_name(match.path)
        try:
            status = os.stat(match.path)  # noqa: PTH116 (a path may be no UTF-8)
            if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
                raise OSError
        except (OSError, ValueError):
            note = "This file is gone or cannot be read. <code>bindplug index update</code> takes it off the index."
            return name, f'<p class="bp-gone">{note}</p>', ""
        view = None
        if status.st_size <= LARGEST_BYTES or match.kind in ("audio", "video"):
            stamp = (
                match.path, match.kind, match.span, status.st_size, status.st_mtime_ns, repr(sorted(options.items())),
            )  # fmt: skip
            view = self._preview(stamp, name, options)
        markup, legend = (view.markup, view.legend) if view else ("", "")
        if match.kind not in ("audio", "video"):
            return name, markup or '<p class="bp-note">No picture can be made of this file.</p>', legend
        address = self.media.address(match.path)
        if address is None:
            return name, markup + '<p class="bp-note">Browsers cannot play this format.</p>', legend
        part = "" if match.span is None else f"#t={match.span[0]:g},{match.span[1]:g}"
        source = f'aria-label="{clean(f"{KINDS[match.kind]} {name}")}" src="{address}{part}"'
        if match.kind == "audio":
            return name, f'{markup}<audio controls preload="none" {source}></audio>', legend
        poster = f'poster="{view.address}" ' if view else ""
        return name, f'<video controls preload="none" {poster}{source}></video>', legend

    def _preview(self, stamp: Stamp, name: str, options: Mapping[str, Any]) -> Preview | None:
        with self._lock:
            if stamp in self._previews:
                self._previews.move_to_end(stamp)
                return self._previews[stamp]
        path, kind, span, *_ = stamp
        view = preview(self.model, kind, path, name, options=options, span=span)
        with self._lock:
            self._previews[stamp] = view
            while len(self._previews) > MOST_PREVIEWS:
                self._previews.popitem(last=False)
        return view


def _rounded(score: float) -> str:
    """With two places, and no minus before a zero."""
    return f"{round(score, 2) + 0.0:.2f}"


def short_name(path: str) -> str:
    """A file's name, cut in the middle if it is long."""
    name = Path(path).name
    half = SHORT_NAME // 2
    return name if len(name) <= SHORT_NAME else f"{name[:half]}…{name[-half:]}"


def remarks_markup(remarks: Sequence[str]) -> str:
    """Remarks on what was read, as a list; empty for none."""
    if not remarks:
        return ""
    items = "".join(f"<li>{clean(remark)}</li>" for remark in dict.fromkeys(remarks))
    return f'<div class="bp-remarks" role="status"><p>Good to know</p><ul>{items}</ul></div>'


def error_markup(message: str) -> str:
    """What went wrong, for a person."""
    return f'<div class="bp-error" role="alert"><p>{clean(message)}</p></div>'
