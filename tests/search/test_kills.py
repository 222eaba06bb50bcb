"""``kill -9`` at any moment loses nothing and doubles nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.search.kills import FILES

ROOT = Path(__file__).parents[2]


def trial(directory, seed, trials):
    command = [sys.executable, "-m", "tests.search.kills", directory, str(seed), str(trials)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def assert_whole(result):
    assert result["lost"] == result["doubled"] == result["parts"] == result["stale"] == 0
    assert result["count"] == FILES
    assert result["again"] == {"rows": 0, "unchanged": FILES}
    assert result["killed"] > 0


def test_killed_writers_lose_and_double_nothing(tmp_path):
    assert_whole(trial(tmp_path, seed=0, trials=3))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_killed_writers_lose_and_double_nothing(tmp_path, seed):
    result = trial(tmp_path, seed, trials=40)
    print(result)
    assert_whole(result)
    assert result["rounds"] > 1  # so that changed files were among what was written
