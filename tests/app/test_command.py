"""What `bindplug app` says before there is a page."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from bindplug.cli.app import run
from bindplug.errors import InputError
from bindplug_app.server import END_SIGNALS, free_port, interruptible, leave, temporary_files


def test_a_missing_or_damaged_index_is_an_error_with_its_remedy(tmp_path, capsys):
    assert run(["app", str(tmp_path / "none.lance")]) == 1
    assert "bindplug index add" in capsys.readouterr().err
    (tmp_path / "other.lance").mkdir()
    assert run(["app", str(tmp_path / "other.lance")]) == 1
    assert "no index of bindplug" in capsys.readouterr().err


def test_a_model_of_another_space_is_refused(index_path, capsys):
    assert run(["app", str(index_path), "--model", "toy_foreign_clip", "--port", "0"]) == 1
    assert "leave --model out" in capsys.readouterr().err


def test_without_an_index_a_model_needs_the_toy_world(capsys):
    assert run(["app", "--model", "toy_foreign_clip", "--port", "0"]) == 1
    assert "no index to search with it" in capsys.readouterr().err


def test_a_port_that_is_taken_is_an_error_or_the_next_one(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port("127.0.0.1", port, next_free=True) > port
        assert run(["app", "--port", str(port)]) == 1
        assert "--port 0 takes a free one" in capsys.readouterr().err
    assert free_port("127.0.0.1", 0, next_free=False) > 0
    with pytest.raises(InputError, match="an address of this machine"):
        free_port("203.0.113.1", 0, next_free=True)


@pytest.mark.parametrize("number", END_SIGNALS)
def test_signals_leave_no_temporary_files(number):
    before = signal.getsignal(number)
    try:
        with pytest.raises(KeyboardInterrupt), interruptible(), temporary_files() as directory:
            signal.raise_signal(number)
    finally:
        gc.unfreeze()
    assert not directory.exists()
    assert signal.getsignal(number) is before


def test_an_answer_that_is_still_computed_is_not_waited_for(monkeypatch):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    leave()
    end.set()
    thread.join()
    assert codes == [0]


def test_temporary_files_go_and_the_environment_is_as_before(monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "before")
    monkeypatch.delenv("GRADIO_SHARE", raising=False)
    with temporary_files() as directory:
        uploads = Path(os.environ["GRADIO_TEMP_DIR"])
        assert uploads.parent == directory
        uploads.mkdir()
        (uploads / "sound.wav").write_bytes(b"x")
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert not directory.exists()
    assert os.environ["GRADIO_TEMP_DIR"] == "before"
    assert "GRADIO_SHARE" not in os.environ
