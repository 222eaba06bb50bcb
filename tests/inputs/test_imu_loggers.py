"""Every logger of the documentation's table gives the motion's values at the model's input."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bindplug.inputs import ImuPreprocess
from tests.inputs.conftest import REPOSITORY
from tests.inputs.imu_device_logs import DEVICES
from tests.inputs.imu_layouts import LAYOUTS
from tests.inputs.imu_logs import motion
from tests.inputs.imu_phone_logs import PHONES
from tests.inputs.imu_robot_logs import ROBOTS

ALL_LOGS = PHONES | DEVICES | ROBOTS | LAYOUTS
preprocess = ImuPreprocess()
EXPECTED = motion(np.arange(2000) / 400)


@pytest.mark.filterwarnings("ignore::bindplug.errors.InputNote")
@pytest.mark.parametrize("logger", ALL_LOGS)
def test_values(logger):
    build, options = ALL_LOGS[logger]
    window = preprocess(build(), **options)
    assert window.shape == (6, 2000)
    error = np.abs(window.numpy() - EXPECTED)[:, 60:1900]  # filters ring at the ends
    assert error[:3].max() < 0.06
    assert error[3:].max() < 0.02


def test_the_table_of_loggers_names_each_log_that_is_tested():
    page = (REPOSITORY / "docs" / "loggers.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and line.count("|") == 5]
    assert len(rows) > 20
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[-2])]
    assert sorted(named) == sorted(ALL_LOGS)
