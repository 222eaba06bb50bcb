"""What is looked at before anything is fetched or kept: addresses, redirects, and what a server's reply says."""

from __future__ import annotations

import re
from http.client import HTTPResponse
from ipaddress import ip_address
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from bindplug.errors import BindplugError, printable

MOST_WAIT_S = 60.0
"""Longest wait that a server's ``Retry-After`` is granted."""
HTML_STARTS = (b"<!doctype", b"<!--", b"<html", b"<head", b"<?xml")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
HTML_SNIFF = 16
PAGE_TYPES = ("text/html", "application/xhtml+xml", "application/json", "application/problem+json")
"""Types of pages and of error messages; weights are none of them."""


class DownloadError(BindplugError, OSError):
    """A file could not be fetched; what arrived is kept, and the next attempt resumes there."""


def check_url(url: str) -> str:
    """``url``, if files may be fetched from there: by https, or by http from this machine itself.

    Raises:
        DownloadError: it is anything else.
    """
    try:
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError("a letter that an address cannot hold; write it as %NN")
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")
        _ = parts.port  # a ValueError where it is no number
    except ValueError as error:  # UnicodeError, of labels that are empty or too long, is one
        raise DownloadError(f"{url!r} is no address ({error})") from None
    if parts.scheme == "https" and host:
        return url
    if parts.scheme == "http" and _is_loopback(host):
        return url
    raise DownloadError(
        f"{url}: expected an https address; what plain {parts.scheme or 'text'} brings can be altered"
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class _CheckedRedirects(HTTPRedirectHandler):
    """Follows redirects to addresses that :func:`check_url` accepts."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def checked_opener() -> OpenerDirector:
    """Opens addresses; redirects have to pass :func:`check_url`."""
    return build_opener(_CheckedRedirects)


def check_reply(url: str, response: HTTPResponse, *, resumed: bool) -> None:
    """Return if the reply holds the file itself, or the part of it that was asked for.

    Raises:
        DownloadError: it holds something else.
    """
    status = response.status
    if status not in ((200, 206) if resumed else (200,)):
        raise DownloadError(f"{url}: HTTP {status} {server_text(response.reason)}, which is no file")
    encoding = (response.headers.get("Content-Encoding") or "identity").strip().lower()
    if encoding != "identity":
        raise DownloadError(
            f"{url}: the server sent it with the encoding {encoding!r}; expected the file as it is"
        )
    if response.headers.get_content_type() in PAGE_TYPES:
        raise DownloadError(
            f"{url}: the server sent a web page instead of the file; a login or a network's own page may stand "
            f"between"
        )


def server_text(text: object) -> str:
    """What a server wrote, for a message: one line, shortened, control characters as escapes."""
    return printable(" ".join(str(text).split())[:200])


def is_web_page(start: bytes) -> bool:
    """Whether a file's first block is that of a web page or an XML message."""
    return start.removeprefix(BYTE_ORDER_MARK).lstrip()[:HTML_SNIFF].lower().startswith(HTML_STARTS)


def content_length(url: str, response: HTTPResponse) -> int | None:
    """How many bytes the reply announces; None if it does not.

    Raises:
        DownloadError: it announces no number, or several.
    """
    values = {value.strip() for value in response.headers.get_all("Content-Length") or ()}
    if not values:
        return None
    (value,) = values if len(values) == 1 else ("several",)
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise DownloadError(f"{url}: the server announced a Content-Length of {', '.join(sorted(values))!r}")
    return int(value)


def resumed_total(response: HTTPResponse, start: int) -> int | None:
    """The whole file's size, from the reply to a request from ``start`` on; None if it holds another part."""
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", "").strip())
    if match is None or int(match[1]) != start or int(match[2]) + 1 != int(match[3]):
        return None
    return int(match[3])


def retry_after_s(error: HTTPError) -> float:
    """The wait that a busy server asks for, at most :data:`MOST_WAIT_S`; 0 if it asks for none."""
    value = (error.headers.get("Retry-After") or "").strip() if error.headers else ""
    return min(float(value), MOST_WAIT_S) if value.isascii() and value.isdigit() else 0.0


def validator_of(response: HTTPResponse) -> str:
    """What a range request must quote; a weak entity tag does not promise equal bytes."""
    tag = response.headers.get("ETag") or ""
    return (tag if not tag.startswith("W/") else "") or response.headers.get("Last-Modified") or ""


def is_changed(response: HTTPResponse, validator: str) -> bool:
    """Whether a part is not certain to be of the version that ``validator`` names.

    A part has to repeat a strong entity tag, and may leave a date of change out. Source: RFC 9110, section 15.3.7.
    """
    has_tag = validator.startswith('"')
    return validator_of(response) not in ((validator,) if has_tag else ("", validator))
