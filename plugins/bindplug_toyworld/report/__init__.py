"""The demo's report: one self-contained HTML page and one contact picture."""

from __future__ import annotations

from bindplug_toyworld.report.contact import draw_contact_sheet
from bindplug_toyworld.report.page import write_page

__all__ = ["draw_contact_sheet", "write_page"]
