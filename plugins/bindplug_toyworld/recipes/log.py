"""Where a recipe's command writes what it is doing."""

from __future__ import annotations

import logging
import sys
from pathlib import Path


def log_to(path: Path, *, quiet: bool) -> None:
    """Append every message to the file at ``path``, with its time; unless ``quiet``, show it on stderr as well."""
    handlers: list[logging.Handler] = [logging.FileHandler(path)]
    if not quiet:
        handlers.append(logging.StreamHandler(sys.stderr))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers, force=True)
