"""The edge of the command line: help, exit codes, one-line errors, plugins' commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from bindplug import plugins
from bindplug.cards import CommandCard
from bindplug.cli import app
from bindplug.plugins import Entry, Plugin

COMMANDS = {
    "models",
    "plugins",
    "embed",
    "compare",
    "classify",
    "convert",
    "bridge",
    "verify",
    "bench",
    "cutoffs",
}


@click.command()
def greeting() -> None:
    """Say something."""
    click.echo("hello from a plugin")


def countdown(arguments: list[str]) -> int:
    print("got", *arguments)
    return 3


@pytest.fixture
def registered(monkeypatch):
    """The registry with two more commands, one of either kind, and one that lacks a package."""
    plugin = Plugin("theirs", "theirs", distribution="their-dist")
    registry = plugins.Registry()
    for card in (
        CommandCard(name="greet", description="says hello", target=f"{__name__}:greeting"),
        CommandCard(name="count", description="counts", target=f"{__name__}:countdown"),
        CommandCard(
            name="lame", description="needs more", target="nowhere:x", requires=("not_there",), extra="more"
        ),
    ):
        registry.commands[card.name] = Entry(card, plugin)
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or sys.modules[test_help.__module__])
    monkeypatch.setattr(plugins, "registry", lambda: registry)
    return registry


def test_help_lists_every_command(bindplug):
    ran = bindplug("--help")
    assert ran.code == 0
    assert {line.split()[0] for line in ran.out.splitlines() if line.startswith("  ")} >= COMMANDS
    assert set(app.BUILTIN) == COMMANDS


def test_commands_are_described_in_sentences(bindplug):
    described = {name: text for name, (_, text) in app.BUILTIN.items()}
    described |= {name: entry.card.description for name, entry in plugins.registry().commands.items()}
    assert len(described) > len(COMMANDS)
    for name, text in described.items():
        assert text[0].isupper(), name
        assert text.endswith("."), name


def test_help(bindplug):
    for command in [*sorted(COMMANDS - {"bridge"}), "bridge fit", "bridge report", "bridge list"]:
        ran = bindplug(*command.split(), "--help")
        assert ran.code == 0
        assert "--json" in ran.out
        assert "--quiet" in ran.out


@pytest.mark.parametrize("command", ["embed", "compare", "classify"])
def test_commands_that_load_a_model_share_their_options(bindplug, command):
    shown = bindplug(command, "--help").out
    assert all(option in shown for option in ("--model", "--device", "--dtype", "--batch-size"))


@pytest.mark.parametrize(
    "wrong",
    [
        ("no-such-command",),
        ("models", "--no-such-option"),
        ("embed", "x.wav", "-o", "x.npz"),
        ("compare", "--text", "a dog"),
        ("compare", "--text", "a", "--text", "b", "--against", "audio"),
        ("classify", "x.wav", "--modality", "audio"),
        ("classify", "x.wav", "--modality", "audio", "--labels", "a,a"),
        ("embed", "--text", "a", "-o", "x.npz", "-O", "depth=sun"),
        ("embed", "-o", "x.npz"),
        ("convert", "a", "b.pth", "--modalities", "smell"),
    ],
)
def test_wrong_usage_exits_with_2(bindplug, wrong):
    ran = bindplug(*wrong)
    assert ran.code == 2
    assert ran.out == ""
    assert "Error: " in ran.err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [(["comapre"], "compare"), (["clasify", "x"], "classify"), (["bridge", "repotr"], "report")],
)
def test_a_mistyped_command_is_answered_with_the_nearest(bindplug, typed, meant):
    ran = bindplug(*typed)
    assert ran.code == 2
    assert f"Did you mean {meant}" in ran.err


def test_a_registered_bridge_is_listed_and_reported_by_name(bindplug):
    (card,) = [card for card in bindplug("bridge", "list", "--json").json if card["name"] == "toy_bridge"]
    assert (card["source"]["width"], card["target"]["width"]) == (128, 64)
    assert "toy_bridge" in bindplug("bridge", "list").out
    report = bindplug("bridge", "report", "toy_bridge", "--json").json
    assert report["kind"] == "linear"
    assert report["report"]["method"] == "ridge"
    assert bindplug("bridge", "report", "no_such_bridge").code == 1


def test_a_missing_device_names_those_there_are(bindplug, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    ran = bindplug("compare", "--text", "a", "--text", "b", "--device", "cuda:7")
    assert ran.code == 1
    assert "cuda:7" in ran.err
    assert "(cpu)" in ran.err
    assert "auto" in ran.err


def test_the_device_that_auto_takes_is_said_once(bindplug, model_directory, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    arguments = ["compare", "--text", "a", "--text", "b", "--model", model_directory]
    assert bindplug(*arguments).err == "bindplug: device cpu\n"
    assert bindplug(*arguments, "--quiet").err == ""
    assert bindplug(*arguments, "--device", "cpu").err == ""


@pytest.mark.parametrize("name", ["bf16", "BF16", "bfloat16"])
def test_dtypes_have_short_names(bindplug, model_directory, tmp_path, name):
    output = tmp_path / "half"
    assert bindplug("convert", model_directory, output, "--dtype", name).code == 0
    ran = bindplug("compare", "--text", "a", "--text", "b", "--model", output, "--dtype", "fp32", "--json")
    assert ran.code == 0


def test_error_lines_command_no_terminal(bindplug):
    ran = bindplug("compare", "--image", "\x1b[31mred\x07.png", "--text", "b")
    assert ran.code == 1
    assert "\x1b" not in ran.err
    assert "\\x1b[31mred" in ran.err


def test_an_interruption_during_imports_shows_no_traceback():
    code = (
        "import sys, builtins\n"
        "real = builtins.__import__\n"
        "def interrupted(name, *rest, **more):\n"
        "    if name == 'rich': raise KeyboardInterrupt\n"
        "    return real(name, *rest, **more)\n"
        "from bindplug.cli import main\n"
        "builtins.__import__ = interrupted\n"
        "main(['models'])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (130, "bindplug: interrupted\n")


def test_listing_models_imports_no_torch():
    code = "import sys; from bindplug.cli.app import run; run(['models']); print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False"


def test_modality_is_never_guessed(bindplug):
    ran = bindplug("embed", "bark.wav", "-o", "x.npz")
    assert ran.code == 2
    assert "--modality" in ran.err
    assert "--audio bark.wav" in ran.err


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (("compare", "--text", "a", "--text", "b", "--model", "no_such_model"), "no_such_model"),
        (("compare", "--text", "a", "--text", "b", "--device", "abacus"), "abacus"),
        (("embed", "--text", "a", "-o", "x.csv"), ".parquet or .npz"),
        (("embed", "--image", "absent.png", "-o", "x.npz"), "absent.png"),
        (("embed", "--from-list", "absent.txt", "-o", "x.npz"), "absent.txt"),
    ],
)
def test_errors_are_one_line_and_exit_with_1(bindplug, wrong, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = bindplug(*wrong)
    assert ran.code == 1
    assert ran.err.startswith("bindplug: error: ")
    assert named in ran.err
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_traceback_is_shown_on_request(bindplug, monkeypatch):
    monkeypatch.setenv("BINDPLUG_TRACEBACK", "1")
    with pytest.raises(LookupError, match="no_such_model"):
        bindplug("compare", "--text", "a", "--text", "b", "--model", "no_such_model")


def test_an_interrupted_command_exits_with_130(bindplug, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("bindplug.models.load", interrupt)
    ran = bindplug("compare", "--text", "a", "--text", "b")
    assert ran.code == 130
    assert "interrupted" in ran.err


def test_plugins_bring_commands(bindplug, registered):
    shown = bindplug("--help").out
    assert "greet" in shown
    assert "says hello" in shown
    assert bindplug("greet").out == "hello from a plugin\n"
    ran = bindplug("count", "--from", "9")
    assert (ran.code, ran.out) == (3, "got --from 9\n")


def test_a_plugins_command_names_the_package_it_lacks(bindplug, registered):
    assert bindplug("--help").code == 0
    ran = bindplug("lame")
    assert ran.code == 1
    assert 'pip install "their-dist[more]"' in ran.err


def test_listing_imports_no_torch():
    code = "import sys; from bindplug.cli.app import run; run(['--help']); print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_its_packages_the_command_line_says_what_to_install(package, tmp_path):
    code = f"import sys; sys.modules[{package!r}] = None; from bindplug.cli import main; main(['models'])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert 'pip install "bindplug[cli]"' in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["--help", "models --help", "models", "models --json"])
def test_a_reader_that_leaves_early_is_no_error(command):
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    program = [sys.executable, "-m", "bindplug.cli", *command.split()]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as ran:
        ran.stdout.close()
        assert (ran.stderr.read(), ran.wait(60)) == (b"", 0)


def test_the_module_runs(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-m", "bindplug.cli", "embed", "--audio", "absent.wav", "-o", "x.npz"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "absent.wav" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list(Path(tmp_path).iterdir()) == []


def test_the_shell_completes_commands_and_options():
    environment = os.environ | {"_BINDPLUG_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    for words, completion in (("bindplug com", "compare"), ("bindplug bri", "bridge")):
        ran = subprocess.run(
            [sys.executable, "-c", "import sys; sys.argv[0] = 'bindplug'; from bindplug.cli import main; main()"],
            env=environment | {"COMP_WORDS": words}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.stdout.split() == [f"plain,{completion}"]
