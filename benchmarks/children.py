"""Measure fresh Python processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.options import ROOT


def run_child(arguments: Sequence[str]) -> tuple[float, dict[str, Any]]:
    """Start ``python ARGUMENTS`` at the repository's root.

    Returns:
        Seconds from the start of the process to its line of JSON, and what the line says.

    Raises:
        RuntimeError: it ended without one; its errors are in the message.
    """
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    found, took = None, 0.0
    for line in child.stdout:
        if line.startswith("{"):
            took, found = time.perf_counter() - start, json.loads(line)
    _, errors = child.communicate()
    if child.returncode or found is None:
        raise RuntimeError(f"{' '.join(arguments[:4])} ended with {child.returncode}:\n{errors[-2000:]}")
    return took, found
