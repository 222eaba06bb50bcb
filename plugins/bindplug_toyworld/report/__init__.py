"""The demo's report: one self-contained HTML page; :func:`bindplug_toyworld.report.page.write_page` writes it."""
