"""Which files belong together: heat maps of cosines, and sums of embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from bindplug_toyworld.report import pictures
from bindplug_toyworld.report.markup import NAMES, img, read_picture
from bindplug_toyworld.showcase import TOP, Match, Showcase, Sum


def maps_section(show: Showcase) -> Iterator[str]:
    """A table for each pair of modalities."""
    yield '<section aria-labelledby="maps"><h2 id="maps">Which files belong together</h2>'
    yield (
        "<p>Cosine similarity between files of one kind (rows) and files of another (columns). The outlined "
        "cell is the nearest in its row: <b class=good>green</b> is the same scene, <b class=bad>red</b> another "
        "one, and then dots mark the scene itself. Only pictures were ever paired with anything in training, so every "
        "other alignment emerged.</p>"
    )
    yield '<div class="maps">'
    for match in show.matches:
        yield from _map(match)
    yield "</div></section>"


def sums_section(show: Showcase) -> Iterator[str]:
    """For each sum the pictures nearest to it."""
    yield '<section aria-labelledby="sums"><h2 id="sums">Adding a sound to a picture</h2>'
    yield (
        f"<p>Embeddings can be added. <code>image(a) + audio(b)</code> looks for scenes that hold both things among "
        f"pictures of every pair and of each thing alone; here are the {TOP} nearest.</p>"
    )
    for result in show.sums:
        yield from _sum(show, result)
    yield "</section>"


def _map(match: Match) -> Iterator[str]:
    flat = [value for row in match.cosines for value in row]
    low, high = min(flat), max(flat)
    right = sum(match.right)
    how = "trained on such pairs" if match.trained else "never trained together"
    yield '<div class="card scroll"><table>'
    yield (
        f"<caption>{NAMES[match.query]} → {NAMES[match.candidate]} <span>{right} of {len(match.right)} right · "
        f'<i class="chip">{how}</i></span></caption>'
    )
    heads = "".join(f'<th scope="col"><span>{escape(thing)}</span></th>' for thing in match.things)
    yield f"<thead><tr><td></td>{heads}</tr></thead><tbody>"
    for i, (thing, row) in enumerate(zip(match.things, match.cosines, strict=True)):
        best = max(range(len(row)), key=row.__getitem__)
        cells = "".join(_cell(value, low, high, _mark(i, j, best)) for j, value in enumerate(row))
        yield f'<tr><th scope="row">{escape(thing)}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def _mark(row: int, column: int, best: int) -> str:
    if column == best:
        return "best" if column == row else "wrong"
    return "missed" if column == row else ""


def _cell(value: float, low: float, high: float, mark: str) -> str:
    strength = 0.04 + 0.76 * (value - low) / max(high - low, 1e-9)
    shown = f"{value:.2f}".replace("0.", ".", 1).replace("-.00", ".00").replace("-", "−")
    return f'<td class="{mark}" style="--s:{strength:.2f}">{shown}</td>'


def _sum(show: Showcase, result: Sum) -> Iterator[str]:
    by_thing = {exhibit.thing: exhibit for exhibit in show.exhibits}
    samples, rate_hz = pictures.read_wave(by_thing[result.heard].files["audio"])
    spectrogram = pictures.spectrogram_picture(samples, rate_hz, 224, 224)
    verdict = (
        f"found at place {result.rank}"
        if result.right
        else f"not among the {TOP} nearest (place {result.rank})"
    )
    css = "good" if result.right else "bad"
    seen, heard = escape(result.seen), escape(result.heard)
    yield f'<article class="card sum"><h3>{seen} + {heard}: <span class="{css}">{verdict}</span></h3>'
    yield '<div class="strip">'
    for picture, what in (
        (read_picture(by_thing[result.seen].files["image"]), f"picture: {result.seen}"),
        (spectrogram, f"sound: {result.heard}"),
    ):
        yield f"<figure>{img(picture, what)}<figcaption>{escape(what)}</figcaption></figure>"
        yield (
            '<span class="sign">+</span>'
            if what.startswith("picture")
            else '<span class="sign break">=</span>'
        )
    for path, things, cosine in result.found:
        hit = "hit" if set(things) == {result.seen, result.heard} else ""
        names = " and ".join(things)
        yield (
            f'<figure class="{hit}">{img(read_picture(path), names)}'
            f"<figcaption>{escape(names)} · {cosine:.2f}</figcaption></figure>"
        )
    yield "</div></article>"
