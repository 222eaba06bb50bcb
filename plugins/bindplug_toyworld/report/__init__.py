"""The demo's report: one self-contained HTML page."""

from __future__ import annotations

from bindplug_toyworld.report.page import write_page

__all__ = ["write_page"]
