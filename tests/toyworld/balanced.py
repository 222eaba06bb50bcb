"""A reader of HTML that finds what is not well-formed."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "img", "link", "br", "source", "path", "polyline"}


class Balanced(HTMLParser):
    """Notes every address and checks that what opens also closes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.unnamed = 0

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.unnamed += tag == "img" and not dict(attrs).get("alt")
        self.addresses += [value for name, value in attrs if name in ("src", "srcset", "href") and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag
