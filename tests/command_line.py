"""A fixture that runs a command line in this process."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from bindplug.cli.app import run


@dataclass
class Ran:
    """What a command line printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def bindplug(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs a command line in this process: ``bindplug("models", "--json")``."""

    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        with warnings.catch_warnings():  # what is shown to a person must not be raised by pytest
            warnings.simplefilter("always", UserWarning)
            code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return call
