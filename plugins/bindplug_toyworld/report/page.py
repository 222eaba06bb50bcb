"""The report as one HTML page that needs nothing beside itself: no script, no request."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from importlib.resources import files
from pathlib import Path

from bindplug_toyworld.report.exhibits import exhibits_section
from bindplug_toyworld.report.made import gallery_section, search_section
from bindplug_toyworld.report.similarity import maps_section, sums_section
from bindplug_toyworld.showcase import TOP, Showcase

TALLY = {
    "classified": "files named right",
    "matched": "files matched to their scene across sensors",
    "sums": f"sums whose scene is among the {TOP} nearest",
    "found": "things found that a file pointed at",
    "drawn": "generated pictures of the right thing",
}
"""What each count of a showcase counts."""


def write_page(show: Showcase, path: Path) -> Path:
    """Write the page; it appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text("\n".join(_page(show)), encoding="utf-8")
    temporary.replace(path)
    return path


def _page(show: Showcase) -> Iterator[str]:
    style = files("bindplug_toyworld.report").joinpath("style.css").read_text(encoding="utf-8")
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<link rel="icon" href="data:,">'
    yield f"<title>bindplug demo: {escape(show.model)}</title><style>{style}</style></head><body><main>"
    yield from _head(show)
    yield from exhibits_section(show)
    yield from maps_section(show)
    yield from sums_section(show)
    yield from search_section(show)
    yield from gallery_section(show)
    yield from _foot(show)
    yield "</main></body></html>"


def _head(show: Showcase) -> Iterator[str]:
    yield "<h1>Seven kinds of data, one space</h1>"
    yield (
        f"<p class=soft>Pictures, video, sound, depth, heat, motion and sentences, embedded by "
        f"<code>{escape(show.model)}</code> and compared as if they were one kind.</p>"
    )
    yield '<dl class="tally">'
    for kind, (right, count) in show.tally.items():
        yield f"<div><dt>{TALLY[kind]}</dt><dd>{right} <small>of {count}</small></dd></div>"
    yield "</dl>"


def _foot(show: Showcase) -> Iterator[str]:
    yield (
        f"<footer><p>Made by <code>bindplug demo --seed {show.seed}</code> with <code>{escape(show.model)}</code> in "
        f"{escape(show.space)}, in {show.seconds:.0f} s. Another seed draws other scenes. The scenes come from the "
        f"procedural toy world that the bundled models were trained on; evaluation scenes never occur in training. "
        f"The files themselves lie in the folder <code>files</code> beside this page.</p></footer>"
    )
