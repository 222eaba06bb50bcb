"""Running the page on this machine: its port, its temporary files, and who may ask for it."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bindplug.errors import InputError
from bindplug_serve import listen

if TYPE_CHECKING:
    import gradio as gr

END_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""What ends the page: Ctrl+C, a service manager, a terminal that is closed."""
TRIES = 100
"""Ports that are tried after the default one."""
SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Read by Gradio when it is imported: nothing is told to anybody."""


@contextmanager
def temporary_files() -> Iterator[Path]:
    """A directory for uploads and what the page makes of them, which goes when the block ends.

    To be entered before Gradio is imported, which looks up where its files go.
    """
    with tempfile.TemporaryDirectory(prefix="bindplug-app-", ignore_cleanup_errors=True) as directory:
        names = {**SETTINGS, "GRADIO_TEMP_DIR": f"{directory}/uploads"}
        before = {name: os.environ.get(name) for name in names}
        os.environ.update(names)
        try:
            yield Path(directory)
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


@contextmanager
def interruptible() -> Iterator[None]:
    """Each of :data:`END_SIGNALS` raises KeyboardInterrupt, so that blocks which clean up are left in order."""

    def interrupt(*_: object) -> None:
        gc.freeze()  # the process ends: looking for garbage among the modules' objects would take seconds
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in END_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave() -> None:
    """End the process at once if a thread still computes an answer, which nobody waits for anymore."""
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def free_port(host: str, port: int, *, next_free: bool) -> int:
    """A port that nobody listens on.

    Args:
        host: address of this machine.
        port: the one to take; 0 for any.
        next_free: whether one of the following ports will do.

    Raises:
        InputError: it is taken, or the address is none of this machine's.
    """
    first_error: InputError | None = None
    for number in range(port, min(port + TRIES, 65536)) if next_free and port else (port,):
        try:
            with listen(host, number) as listener:
                return int(listener.getsockname()[1])
        except InputError as error:
            first_error = first_error or error
    assert first_error is not None
    raise first_error


def run(
    page: gr.Blocks, host: str, port: int, *, share: bool, announce: Callable[[str, str | None], None]
) -> None:
    """Serve a page until the process is told to end.

    Args:
        page: as :func:`bindplug_app.create_page` makes it.
        host: address of this machine.
        port: a free one.
        share: whether Gradio's tunnel also gives it a public address.
        announce: told the address, and the public one.
    """
    end = threading.Event()
    for number in END_SIGNALS:
        signal.signal(number, lambda *_: end.set())
    _, address, public = page.launch(
        server_name=host,
        server_port=port,
        share=share,
        quiet=True,
        prevent_thread_lock=True,
    )
    announce(address.rstrip("/"), public)
    end.wait()
    # Browsers keep a connection open as long as they show the page; uvicorn logs what is cut off.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    page.server.force_exit = True
    page.close(verbose=False)
    gc.freeze()  # as in interruptible
