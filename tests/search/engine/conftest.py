"""A small model, files to embed, and an engine without Ray for what does not need processes."""

from __future__ import annotations

import json
import pickle
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bindplug.cli.app import run as run_command
from bindplug.imagebind import ImageBind, save_directory
from bindplug.space import EmbeddingSpace
from bindplug_search.engine import run as engine
from bindplug_search.engine.cluster import EmbedPartitions, Resources, space_of_model
from bindplug_search.engine.partition import PartitionReport
from tests.search.engine.rows import rows_of
from tests.small import SMALL


@pytest.fixture(scope="session")
def small_model(tmp_path_factory):
    """A converted directory of a small random ImageBind."""
    torch.manual_seed(0)
    model = ImageBind(SMALL, space=EmbeddingSpace("test:small", 16))
    return str(save_directory(model.eval(), tmp_path_factory.mktemp("weights") / "small", license="MIT"))


def write_pictures(directory: Path, count: int, size: int = 24) -> list[Path]:
    """Pictures of noise, ``p00000.png`` and so on."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    paths = [directory / f"p{index:05d}.png" for index in range(count)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Forty pictures, of which the eleventh is broken."""
    paths = write_pictures(tmp_path_factory.mktemp("pictures"), 40)
    paths[10].write_bytes(b"no picture")
    return paths


@pytest.fixture(scope="session")
def local_rows(small_model, pictures, tmp_path_factory):
    """Rows of the pictures, made by the local path."""
    output = tmp_path_factory.mktemp("local") / "rows.parquet"
    arguments = [
        "embed",
        *map(str, pictures),
        "--modality",
        "image",
        "-o",
        str(output),
        "--model",
        small_model,
    ]
    assert run_command([*arguments, "--on-error", "skip", "--quiet"]) == 3
    return rows_of(output)


@pytest.fixture
def in_process(monkeypatch):
    """The engine with one actor that lives in this process; the names of the partitions that it embedded."""
    embedded: list[str] = []

    @contextmanager
    def session(address):
        yield None

    def embed(ray, partitions, work, output, space, resources):
        actor = EmbedPartitions(work, output, space)
        for partition in partitions:
            result = actor({"partition": [pickle.dumps(partition)]})
            if result["failure"][0]:
                raise pickle.loads(result["failure"][0])
            fields = json.loads(result["report"][0])
            embedded.append(fields["name"])
            yield fields.pop("name"), PartitionReport(**fields)

    monkeypatch.setattr(engine, "ray_session", session)
    monkeypatch.setattr(engine, "plan_resources", lambda *arguments: Resources(1, 1.0, 0.0))
    monkeypatch.setattr(engine, "describe_model", lambda ray, work: space_of_model(work))
    monkeypatch.setattr(engine, "embed_partitions", embed)
    return embedded


@pytest.fixture
def command(capsys):
    """Runs a command line in this process; its exit code, stdout and stderr."""

    def call(*arguments):
        capsys.readouterr()
        with warnings.catch_warnings():  # what is shown to a person must not be raised by pytest
            warnings.simplefilter("always", UserWarning)
            code = run_command([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call
