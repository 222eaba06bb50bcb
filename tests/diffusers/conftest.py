"""The fake encoder in the width of the tiny pipelines, and libraries that say nothing."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import diffusers
import transformers
from PIL import Image

from bindplug.testing import FakeEncoder

diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

HERE = Path(__file__).parent
EULER = (
    r"ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:"
    r"diffusers\.schedulers\.scheduling_euler_discrete"
)
"""diffusers' Euler scheduler takes numpy's array of a torch expression, which numpy 2 warns of."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(EULER))


@pytest.fixture
def model() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def picture() -> Image.Image:
    return Image.linear_gradient("L").resize((16, 16)).convert("RGB")
