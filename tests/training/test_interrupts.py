"""Signals end a run between two steps."""

from __future__ import annotations

import signal

import pytest

from bindplug.training import interrupts
from bindplug.training.interrupts import ONE_EVENT_S, StopSignals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_twice_at_once_is_one_event(monkeypatch, number):
    """As from the terminal and a launcher: the step goes on to its checkpoint. A later one has its usual effect."""
    now = [100.0]
    monkeypatch.setattr(interrupts.time, "monotonic", lambda: now[0])
    ended = []
    before = signal.signal(number, lambda *_: ended.append(number))
    try:
        with StopSignals(enabled=True) as signals:
            assert not signals.is_set
            for _ in range(3):
                signal.raise_signal(number)
            assert signals.is_set
            assert ended == []
            now[0] += ONE_EVENT_S + 0.1
            signal.raise_signal(number)
            assert ended == [number]
        signal.raise_signal(number)
        assert ended == [number, number]
    finally:
        signal.signal(number, before)


def test_signals_act_as_usual_where_nothing_is_kept():
    with pytest.raises(KeyboardInterrupt), StopSignals(enabled=False):
        signal.raise_signal(signal.SIGINT)
