"""What the page does with the values of its fields: search, detect, paint, look at a file. Answers are HTML."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bindplug.errors import BindplugError
from bindplug_app.cards import Wall, error_markup, remarks_markup
from bindplug_app.finder import Finder
from bindplug_app.previews import clean, picture_markup, preview
from bindplug_app.sources import file_leaf, kind_of, reader_options, seed_of, terms_of
from bindplug_app.words import detection_markup, empty_index_markup
from bindplug_serve import check_size

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger("bindplug.app")

FAILED = "Something went wrong in the page itself; the terminal that it was started in says what."
MOST_MATCHES = 48
PAINTING_SIDE = 384
"""Smaller pictures are enlarged up to so many pixels a side."""
Answer = tuple[str, str]
"""Remarks or an error, and the result; either may be empty."""


def guarded(action: Callable[..., Answer]) -> Callable[..., Answer]:
    """An action whose errors come as text: what a person can mend as it is, anything else in the terminal."""

    def answer(*values: Any) -> Answer:
        try:
            return action(*values)
        except BindplugError as error:
            message = str(error)
        except Exception:
            logger.exception("the page failed")
            message = FAILED
        return error_markup(message), ""

    return answer


def search(finder: Finder, wall: Wall, *values: Any) -> Answer:
    """The wall of matches.

    Args:
        finder: what searches.
        wall: what shows the matches.
        values: of the query's fields (see :func:`~bindplug_app.sources.terms_of`), kinds to look among, and how many.

    Raises:
        BindplugError: as :meth:`Finder.search`.
    """
    *query, kinds, number = values
    terms, notes = terms_of(query)
    k = max(1, min(MOST_MATCHES, int(number or 12)))
    matches, remarks = finder.search(terms, kinds=kinds or (), k=k)
    if not matches and not finder.info().rows:
        return remarks_markup(notes + remarks), empty_index_markup()
    return remarks_markup(notes + remarks), wall.markup(matches, finder.reader_options(matches))


def detect(finder: Finder, *values: Any) -> Answer:
    """A picture with boxes around what the query means.

    Args:
        finder: what detects.
        values: of the query's fields, path of the picture, and threshold.

    Raises:
        BindplugError: as :meth:`Finder.detect`.
    """
    *query, path, threshold = values
    terms, notes = terms_of(query)
    if not path:
        return error_markup("There is no picture to look in yet: drop one above."), ""
    answer = finder.detect(terms, file_leaf("image", path), threshold=float(threshold or 0.5))
    return remarks_markup(notes + answer.remarks), detection_markup(answer)


def paint(finder: Finder, *values: Any) -> Answer:
    """A new picture of the query.

    Args:
        finder: what paints.
        values: of the query's fields, and the seed as text; a random one if it is empty.

    Raises:
        BindplugError: as :meth:`Finder.paint`.
    """
    *query, seed_text = values
    seed = seed_of(seed_text)
    terms, notes = terms_of(query)
    picture, remarks = finder.paint(terms, seed=seed)
    markup = picture_markup(_enlarge(picture), f"the picture that was painted, seed {seed}", "PNG")
    figure = f'<figure class="bp-figure">{markup}<figcaption>Seed {seed}</figcaption></figure>'
    return remarks_markup(notes + remarks), figure


def look(finder: Finder, label: str, file: str | None, options: str) -> str:
    """The file of a source as something to look at, or what is wrong with it; empty for words and sounds.

    Args:
        finder: whose readers are used.
        label: of the source's kind.
        file: path of the upload.
        options: of the reader, as text.
    """
    try:
        kind = kind_of(label)
        if not file or kind in ("text", "audio"):
            return ""
        settings = reader_options(options or "")
        leaf = file_leaf(kind, file, settings)
        check_size(leaf, finder.limits)
    except BindplugError as error:
        return error_markup(str(error))
    view = preview(finder.model, kind, leaf.source, Path(file).name, options=settings)
    if view is None:
        return ""
    legend = f"<figcaption>{clean(view.legend)}</figcaption>" if view.legend else ""
    return f'<figure class="bp-figure">{view.markup}{legend}</figure>'


def _enlarge(picture: Image) -> Image:
    from PIL import Image

    factor = max(1, PAINTING_SIDE // max(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)
