from __future__ import annotations

import io

import pytest

from bindplug import progress
from bindplug.progress import is_quiet, iterate_with_progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that each look moves on by the seconds in ``steps``."""
    now = {"time": 0.0, "step": 0.0}

    def monotonic():
        now["time"] += now["step"]
        return now["time"]

    monkeypatch.setattr(progress.time, "monotonic", monotonic)
    monkeypatch.setattr("tqdm.std.time", monotonic)
    monkeypatch.delenv("BINDPLUG_QUIET", raising=False)
    return now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_quick_work_prints_nothing(clock, kind):
    clock["step"] = 0.005
    stream = kind()
    assert list(iterate_with_progress(range(50), stream=stream)) == list(range(50))
    assert stream.getvalue() == ""


def test_slow_work_draws_a_bar(clock):
    clock["step"] = 0.5
    stream = Terminal()
    assert list(iterate_with_progress(range(8), label="reading", stream=stream)) == list(range(8))
    assert "\rreading: " in stream.getvalue()
    assert "8/8" in stream.getvalue()
    assert stream.getvalue().endswith("\n")


def test_logs_get_lines_and_few(clock):
    clock["step"] = 1.0
    stream = io.StringIO()
    list(iterate_with_progress((i for i in range(100)), stream=stream))
    lines = stream.getvalue().splitlines()
    assert 5 < len(lines) < 15
    assert lines[-1].startswith("100it")
    assert "\r" not in stream.getvalue()


def test_quiet(clock, monkeypatch, capsys):
    clock["step"] = 1.0
    list(iterate_with_progress(range(9), quiet=True))
    monkeypatch.setenv("BINDPLUG_QUIET", "1")
    list(iterate_with_progress(range(9)))
    assert capsys.readouterr() == ("", "")
    list(iterate_with_progress(range(9), quiet=False))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "9/9" in captured.err


@pytest.mark.parametrize(
    ("value", "quiet"), [("1", True), ("yes", True), ("0", False), ("", False), ("no", False)]
)
def test_environment_variable(monkeypatch, value, quiet):
    monkeypatch.setenv("BINDPLUG_QUIET", value)
    assert is_quiet() is quiet
    assert is_quiet(False) is False


def test_bar_is_closed_when_the_work_stops_early(clock):
    clock["step"] = 3.0
    stream = Terminal()
    work = iterate_with_progress(range(10), stream=stream)
    next(work), next(work)
    work.close()
    assert stream.getvalue().endswith("\n")
