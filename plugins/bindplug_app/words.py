"""What the page says, as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bindplug_app.finder import DetectionAnswer
from bindplug_app.previews import KINDS, clean, picture_markup
from bindplug_toyworld import CLASSNAMES

if TYPE_CHECKING:
    from bindplug.indexes import IndexInfo

PLURALS = {
    "text": "sentences",
    "audio": "sounds",
    "image": "pictures",
    "video": "videos",
    "depth": "depth maps",
    "thermal": "heat pictures",
    "imu": "motion logs",
}
REAL_WORLD_MODEL = "imagebind_huge"


def intro_markup(info: IndexInfo, is_toy: bool) -> str:
    """Title, what is searched, and the limits of the toy model."""
    singulars = KINDS | {"text": "sentence"}
    counts = [
        f"{info.kinds[kind]} {PLURALS[kind] if info.kinds[kind] != 1 else singulars[kind].lower()}"
        for kind in KINDS
        if info.kinds.get(kind)
    ]
    holds = ", ".join(counts) or "nothing yet"
    toy = ""
    if is_toy:
        things = ", ".join(CLASSNAMES)
        toy = (
            "<details><summary>This is a toy model: it knows a drawn world of twenty things.</summary>"
            f"<p>It knows {clean(things)}, and little else. With {REAL_WORLD_MODEL} it is the real world.</p></details>"
        )
    return (
        '<header class="bp-intro"><h1>Find anything by anything</h1>'
        "<p>Give a sound, a picture, a depth map, heat, a motion or words. The files that mean the same come up, "
        f"whatever sense they are of. Searched here: {clean(holds)}.</p>{toy}</header>"
    )


def empty_index_markup() -> str:
    """That there is nothing to search, and how files come into the index."""
    return (
        '<p class="bp-empty">The index is empty. <code>bindplug index add</code> brings files into it; '
        "they can be searched for at once.</p>"
    )


def tool_note(tool: str, option: str) -> str:
    """That a tool is not there, and how to bring it."""
    return (
        f'<p class="bp-empty">This page was started without a {tool}. '
        f"Name one with <code>bindplug app {option} NAME</code>.</p>"
    )


def detection_markup(answer: DetectionAnswer) -> str:
    """The picture with boxes, and a list of them."""
    count = len(answer.boxes)
    width, height = answer.size
    if not count:
        summary = "Nothing like it is in the picture. Be less sure, or look for something else."
    else:
        summary = "One place was found." if count == 1 else f"{count} places were found."
    items = "".join(
        f"<li>score {detected.score:.2f}, {_place(detected.box, width, height)}</li>"
        for detected in answer.boxes
    )
    alt = f"the picture with {count or 'no'} {'box' if count == 1 else 'boxes'}"
    figure = f'<figure class="bp-figure bp-wide">{picture_markup(answer.picture, alt)}</figure>'
    return f"<p>{summary}</p>{figure}{f'<ol>{items}</ol>' if items else ''}"


def _place(box: tuple[float, float, float, float], width: int, height: int) -> str:
    """Where a box is, in words."""
    across = (box[0] + box[2]) / 2 / width
    down = (box[1] + box[3]) / 2 / height
    column = "left" if across < 1 / 3 else "right" if across > 2 / 3 else "middle"
    row = "top" if down < 1 / 3 else "bottom" if down > 2 / 3 else "center"
    if row == "center":
        return "in the center" if column == "middle" else f"at the {column}"
    return f"at the {row}" if column == "middle" else f"at the {row} {column}"
