"""Suppresses Pillow's warnings about odd metadata, also where several threads read pictures."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

logging.getLogger("PIL").addHandler(
    logging.NullHandler()
)  # else errors go to stderr where nobody set up logging
_lock = threading.Lock()
_depth = 0
_filters = warnings.catch_warnings()


@contextmanager
def suppress_pillow_warnings() -> Iterator[None]:
    """Ignore warnings that Pillow's modules issue inside the block; damage still raises.

    Warning filters belong to the whole process. The first thread to enter sets the filter and the last one to
    leave restores the previous ones, so that no thread restores the filter of another.
    """
    global _depth, _filters
    with _lock:
        _depth += 1
        if _depth == 1:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _filters.__exit__(None, None, None)
