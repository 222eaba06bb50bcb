"""Randomness of the suite: hypothesis times no example, and every test starts with the same global seeds."""

import os
import random

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "bindplug",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("bindplug")


@pytest.fixture(autouse=True)
def _global_seeds() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
