"""Search over a person's own files: an index of rows, and queries of every sense against it."""

from __future__ import annotations

__all__: list[str] = []
