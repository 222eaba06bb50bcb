"""What a request can be refused with, and how that is written: status, message and code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bindplug.errors import (
    BindplugError,
    InputError,
    MissingDependency,
    ModalityNotLoaded,
    NoDirection,
    OptionError,
    SpaceMismatch,
    UnknownModality,
)


class ItemError(BindplugError, ValueError):
    """The text of an :class:`~bindplug.errors.InputError` of an item in a batch."""


BAD_INPUT = (
    InputError,
    ItemError,
    ModalityNotLoaded,
    NoDirection,
    OptionError,
    SpaceMismatch,
    UnknownModality,
)
"""Errors of the sender."""
PLAIN_PATHS = ("/vectorize", "/meta", "/.well-known/live", "/.well-known/ready")
"""Paths whose clients read the error as a string."""
TYPES = {401: "authentication_error", 429: "rate_limit_error"}


@dataclass
class Refusal(Exception):  # noqa: N818 - it is an answer
    """A request that is not answered.

    Args:
        status: of the HTTP response.
        message: what is wrong and what would be right, for a person.
        code: the same for a program, as ``"queue_full"``.
        param: which part of the request is at fault, as ``"input[3]"``.
        items: for requests of several items, which ones failed and why.
        retry_after_s: whole seconds after which to try again; None where that would not help.
    """

    status: int
    message: str
    code: str
    param: str | None = None
    items: Sequence[ItemFailure] = field(default_factory=tuple)
    retry_after_s: int | None = None

    def __str__(self) -> str:
        return self.message

    def headers(self) -> dict[str, str]:
        """Headers that belong to the response."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})

    def body(self, path: str) -> bytes:
        """The response's JSON: in OpenAI's form, or with a string where a path's clients expect one."""
        return encode_json({"error": self.message if path in PLAIN_PATHS else self.content()})

    def content(self) -> dict[str, Any]:
        """The error in OpenAI's form."""
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        content: dict[str, Any] = {
            "message": self.message,
            "type": kind,
            "param": self.param,
            "code": self.code,
        }
        if self.items:
            content["items"] = [{"index": item.index, "message": item.message} for item in self.items]
        return content


def shutting_down() -> Refusal:
    """The refusal of what arrives while the server ends, or still waits then."""
    return Refusal(503, "the server is shutting down", "shutting_down", retry_after_s=1)


@dataclass(frozen=True)
class ItemFailure:
    """An item of a request that failed, and why."""

    index: int
    message: str


def refusal_of(error: BaseException) -> Refusal:
    """The refusal that an error amounts to; an unexpected one is told no more about than that it happened."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, BAD_INPUT):
        return Refusal(400, str(error), "invalid_input")
    if isinstance(error, MissingDependency):
        return Refusal(501, str(error), "not_installed")
    if isinstance(error, BindplugError):
        return Refusal(500, str(error), "server_error")
    return Refusal(500, "the server failed; its log says why", "server_error")


def encode_json(content: Any) -> bytes:
    """``content`` as ASCII, so that halves of surrogate pairs in it do no harm; never NaN."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")
