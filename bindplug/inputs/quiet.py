"""Pillow's remarks on odd metadata, kept off the user's screen also where several threads read."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_filters = warnings.catch_warnings()


@contextmanager
def pillow_silenced() -> Iterator[None]:
    """Warnings issued by Pillow's modules are dropped in the block; what matters raises an error.

    Filters belong to the whole process, so only the first thread to come sets them and only the last to go puts
    back what was there: one that came in between would put back the silence of another.
    """
    global _inside, _filters
    with _lock:
        _inside += 1
        if _inside == 1:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _filters.__exit__(None, None, None)
