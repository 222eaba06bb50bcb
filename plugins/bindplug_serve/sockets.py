"""Sockets that listen at addresses of this machine."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from bindplug.errors import InputError

BACKLOG = 1024
"""Connections that wait to be accepted, also while a server starts."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that its port is known and nobody else can take it.

    Args:
        host: an address of this machine, or a name of it.
        port: 0 takes a free one.

    Raises:
        InputError: the address is none of this machine's, or the port is in use.
    """
    with ExitStack() as stack:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = stack.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            raise InputError(
                f"--host {host} --port {port}",
                found=error.strerror or str(error),
                expected="a free port at an address of this machine",
                remedy="--port 0 takes a free one.",
            ) from None
        stack.pop_all()
    return listener
