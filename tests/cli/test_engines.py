"""Engines that plugins register for `bindplug embed --engine NAME`."""

from __future__ import annotations

import subprocess
import sys
import types
from importlib.metadata import EntryPoint

import pytest

from bindplug import hookimpl, plugins
from bindplug.cards import EngineCard
from bindplug.cli.building import EmbedJob, EmbedSummary

JOBS: list[EmbedJob] = []


def run(job: EmbedJob) -> EmbedSummary:
    JOBS.append(job)
    print("chatter of a library")
    skipped = [{"modality": "image", "source": "b.png", "reason": "b.png: no picture"}]
    skipped = skipped if job.options.get("bad") else []
    return EmbedSummary(job.output, 3, skipped_count=len(skipped), skipped=skipped, details={"actors": 2})


def wrong(job: EmbedJob) -> str:
    return "done"


@pytest.fixture(autouse=True)
def engines(monkeypatch):
    """A plugin with three engines: one that works, one that breaks the contract, one whose package is absent."""
    module = types.ModuleType("engines_plugin")

    def register_engines(register):
        register(EngineCard(name="many", target="engines_of_a_test:run", options=("actors", "bad")))
        register(EngineCard(name="wrong", target="engines_of_a_test:wrong"))
        register(EngineCard(name="far", target="x:y", requires=("no_such_package",), extra="far"))

    module.register_engines = hookimpl(register_engines)
    here = types.ModuleType("engines_of_a_test")
    here.run, here.wrong = run, wrong
    monkeypatch.setitem(sys.modules, "engines_of_a_test", here)
    monkeypatch.setitem(sys.modules, "engines_plugin", module)
    real = plugins.entry_points
    entry = EntryPoint("engines", "engines_plugin", "bindplug")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [*real(group=group), entry])
    plugins.refresh()
    JOBS.clear()
    yield
    monkeypatch.undo()
    plugins.refresh()


def embed(bindplug, *arguments):
    return bindplug("embed", "--modality", "image", "-o", "rows", *arguments)


def test_an_engine_gets_the_job_as_typed(bindplug, tmp_path):
    ran = embed(
        bindplug, "s3://bucket/*.png", tmp_path, "--engine", "many", "--address", "auto", "-E", "actors=4",
        "--workers", 2, "--batch-size", 8, "--recursive", "--include", "*.png", "--windows", 2,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    (job,) = JOBS
    assert [s.value for s in job.sources.items] == ["s3://bucket/*.png", str(tmp_path)]
    assert (job.address, job.options, job.workers, job.choice.batch_size) == ("auto", {"actors": 4}, 2, 8)
    assert (job.recursive, job.include, job.on_error, job.save_every) == (True, ("*.png",), None, None)
    assert job.windows == {"seconds": 2.0, "hop": 2.0}


def test_the_summary_is_json_and_its_skipped_inputs_give_3(bindplug):
    ran = embed(bindplug, "a.png", "--engine", "many", "-E", "bad=true", "--json")
    assert ran.code == 3
    assert ran.json["rows"] == 3
    assert ran.json["skipped"][0]["source"] == "b.png"
    assert ran.json["details"] == {"actors": 2}
    assert "skipped b.png: no picture" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--engine", "many", "-E", "actor=4"], 2, "no option 'actor'; it has: actors, bad"),
        (["--engine", "many", "-E", "actors"], 2, "NAME=VALUE"),
        (["--engine", "mayn"], 1, "Did you mean many?"),
        (["--engine", "wrong"], 1, "returned a str; expected an EmbedSummary"),
        (["--engine", "far"], 1, 'pip install "engines_plugin[far]"'),
        (["--address", "auto"], 2, "need --engine"),
        (["-E", "actors=4"], 2, "need --engine"),
    ],
)
def test_what_is_refused(bindplug, arguments, code, words):
    ran = embed(bindplug, "a.png", *arguments)
    assert ran.code == code, ran.err
    assert words in " ".join(ran.err.split())


def test_help_imports_no_engine():
    code = (
        "import sys; from bindplug.cli.app import run; run(['--help']); run(['embed', '--help']); "
        "assert not {'ray', 'pyarrow', 'torch', 'lance'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--engine" in done.stdout


def test_addresses_need_an_engine(bindplug, tmp_path):
    arguments = ["embed", "--modality", "image", "s3://bucket/a.png", "-o", tmp_path / "rows.parquet"]
    ran = bindplug(*arguments)
    assert ran.code == 1
    assert "--engine ray" in ran.err
    assert bindplug(*arguments, "--on-error", "skip").code == 1
