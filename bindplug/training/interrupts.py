"""Signals that ask a run to stop, heeded between two steps."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


ONE_EVENT_S = 1.0
"""Signals so soon after the first are the same event: Ctrl-C reaches a launcher's processes from the terminal, and once
more from the launcher."""


class StopSignals:
    """Notes the first SIGINT or SIGTERM inside the block; a later one has its usual effect at once.

    Attributes:
        is_set: whether a signal came.

    Args:
        enabled: False changes nothing, so that signals act as usual. So it is outside the main thread, and for signals
            that the process was started to ignore.
    """

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled and threading.current_thread() is threading.main_thread()
        self.is_set = False
        self._before: dict[signal.Signals, Any] = {}
        self._first_s = 0.0

    def __enter__(self) -> StopSignals:
        if self.enabled:
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.is_set:
            self.is_set, self._first_s = True, now
        elif now - self._first_s > ONE_EVENT_S:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
