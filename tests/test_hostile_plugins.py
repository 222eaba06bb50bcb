"""Plugins that end the process, print, raise what they like or take names: they are reported, and others go on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bindplug.card_checks import RESERVED_COMMANDS
from bindplug.cli.app import BUILTIN

ROOT = Path(__file__).parents[1]
HOOK = """
import bindplug
from bindplug import hookimpl
from bindplug.cards import AdapterCard, CommandCard, ModelCard
from bindplug.space import EmbeddingSpace
SPACE = EmbeddingSpace("hostile:space", 4)

@hookimpl
def register_models(register):
    register(ModelCard(name={name!r}, modalities=("text",), space=SPACE, license="MIT", loader="x:y"))
"""

PLUGINS = {
    "aa_exits": "import sys\nsys.exit(0)\n",
    "aa_exits_in_hook": "from bindplug import hookimpl\n\n@hookimpl\ndef register_models(register):\n    exit('bye')\n",
    "aa_odd": "class Odd(BaseException):\n    def __str__(self):\n        raise OSError\n\nraise Odd\n",
    "aa_generator_exit": "raise GeneratorExit\n",
    "aa_escapes": "raise ValueError('\\x1b[31mred\\x1b[0m\\nsecond [bold]line[/] \\udc80')\n",
    "aa_prints": "print('{not json')\n" + HOOK.format(name="printed"),
    "aa_takes_model": HOOK.format(name="imagebind_tiny"),
    "aa_takes_command": HOOK.format(name="unused")
    + "\n@hookimpl\ndef register_commands(register):\n    register(CommandCard(name='embed', target='x:y'))\n",
    "aa_strange_name": HOOK.format(name="\x1b]0;owned\x07"),
    "aa_writes": "import os, sys\nos.write(1, b'{raw')\nos.system('echo {child')\nsys.__stdout__.write('{real')\n"
    + HOOK.format(name="writer"),
    "aa_closes": "import sys\nsys.stdout.close()\n" + HOOK.format(name="closer"),
    "aa_shallow": "import sys\nsys.setrecursionlimit(60)\n\ndef down(n):\n    down(n + 1)\n\ndown(0)\n",
    "aa_text_for_tuple": HOOK.format(name="texts").replace("loader=", "requires='torch', loader="),
    "aa_no_space": HOOK.format(name="spaceless").replace("space=SPACE", "space='here'"),
    "aa_leaving_loader": HOOK.format(name="leaving_model").replace("x:y", "leaving_loader:load"),
    "toyworld": HOOK.format(name="impostor"),  # takes the name of a plugin of bindplug's own
    "good": HOOK.format(name="good_model")
    + """
@hookimpl
def register_adapters(register):
    def recognises(target):
        print("asked")
        raise SystemExit(3)
    register(AdapterCard(name="leaver", target="x:y", recognises=recognises))

@hookimpl
def register_commands(register):
    register(CommandCard(name="noisy", target="noisy_command:main"))
    register(CommandCard(name="leaving", target="leaving_command:main"))
""",
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment in which all of them are installed beside bindplug."""
    site = tmp_path_factory.mktemp("site")
    for name, code in PLUGINS.items():
        (site / f"hostile_{name}.py").write_text(code, encoding="utf-8")
        info = site / f"hostile_{name}-1.0.dist-info"
        info.mkdir()
        version = "" if name == "good" else "Version: 1.0\n"  # metadata may lack anything
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: hostile-{name}\n{version}")
        (info / "entry_points.txt").write_text(f"[bindplug]\n{name} = hostile_{name}\n")
    (site / "noisy_command.py").write_text("print('loading')\ndef main(arguments):\n    print('{}')\n")
    (site / "leaving_command.py").write_text("import sys\nsys.exit(0)\n")
    (site / "leaving_loader.py").write_text(
        "def load(path, **options):\n    print('loading')\n    raise SystemExit(0)\n"
    )
    path = os.pathsep.join([str(site), str(ROOT), str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


def run(environment, *arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def report(environment):
    done = run(environment, "-m", "bindplug.cli", "plugins", "--json")
    assert done.returncode == 0, done.stderr
    return {plugin["module"]: plugin for plugin in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("aa_exits", "it called sys.exit(0)"),
        ("aa_exits_in_hook", "it called sys.exit('bye')"),
        ("aa_odd", "Odd: an error without text"),
        ("aa_generator_exit", "GeneratorExit"),
        ("aa_escapes", r"ValueError: \x1b[31mred\x1b[0m second [bold]line[/] \udc80"),
        ("aa_takes_model", "'imagebind_tiny' is registered by 'toyworld' (bindplug)"),
        ("aa_takes_command", "'embed', which is a command of bindplug itself"),
        ("aa_strange_name", r"the name '\x1b]0;owned\x07'; expected printable text"),
        ("aa_shallow", "RecursionError"),
        ("aa_text_for_tuple", "'texts' with requires='torch'; expected a tuple of texts"),
        ("aa_no_space", "'spaceless' with space='here'; expected an EmbeddingSpace"),
        ("toyworld", "belongs to bindplug"),
    ],
)
def test_the_offender_is_reported_as_broken(report, name, reason):
    plugin = report[f"hostile_{name}"]
    assert plugin["status"] == "broken"
    assert reason in plugin["reason"]
    assert plugin["provides"] == []


def test_all_others_go_on(report):
    for name in ("imagebind", "detic", "diffusers", "open_clip", "toyworld", "transformers"):
        (own,) = [p for p in report.values() if p["name"] == name and not p["module"].startswith("hostile")]
        assert own["status"] == "ready", own
    assert "models:imagebind_tiny" in report["bindplug_toyworld.plugin"]["provides"]
    assert report["hostile_good"]["status"] == "ready"
    assert report["hostile_aa_closes"]["provides"] == ["models:closer"]


def test_what_a_plugin_prints_goes_to_stderr_and_is_noted(environment, report):
    assert report["hostile_aa_prints"]["status"] == "ready"
    assert "prints while it is loaded: '{not json'" in report["hostile_aa_prints"]["reason"]
    done = run(environment, "-m", "bindplug.cli", "models", "--json")
    assert {"printed", "good_model", "imagebind_tiny"} <= {model["name"] for model in json.loads(done.stdout)}
    assert "{not json" in done.stderr
    assert all(text in done.stderr for text in ("{raw", "{child", "{real"))


def test_the_table_holds_no_control_characters(environment):
    done = run(environment, "-m", "bindplug.cli", "plugins")
    assert done.returncode == 0
    assert "aa_escapes" in done.stdout
    assert "\x1b" not in done.stdout.replace("\x1b[0m", "")
    assert "[bold]line[/]" in done.stdout.replace("\n", " ")


def test_an_adapter_that_leaves_is_named_and_others_are_asked(environment):
    code = (
        "import bindplug\n"
        "try:\n    bindplug.upgrade(object())\n"
        "except bindplug.errors.UnsupportedTarget as error:\n    print(error)\n"
    )
    done = run(environment, "-c", f"import bindplug.errors\n{code}")
    assert done.returncode == 0, done.stderr
    assert "'leaver' of plugin 'good' failed when asked (it called sys.exit(3))" in done.stdout
    assert "'detic'" in done.stdout
    assert "asked\n" in done.stderr


def test_commands_print_their_output_alone_and_a_broken_one_is_an_error(environment):
    noisy = run(environment, "-m", "bindplug.cli", "noisy")
    assert (noisy.returncode, noisy.stdout) == (0, "{}\n")
    leaving = run(environment, "-m", "bindplug.cli", "leaving")
    assert leaving.returncode == 1
    assert "plugin 'good': importing 'leaving_command:main' failed: it called sys.exit(0)" in leaving.stderr
    assert run(environment, "-m", "bindplug.cli", "embed", "--help").returncode == 0


def test_a_loader_that_leaves_is_an_error_and_prints_to_stderr(environment):
    arguments = ("compare", "--text", "a", "--text", "b", "--model", "leaving_model", "--json")
    done = run(environment, "-m", "bindplug.cli", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert "plugin 'aa_leaving_loader': 'leaving_loader:load' failed: it called sys.exit(0)" in done.stderr
    assert "loading\n" in done.stderr


def test_the_reserved_names_are_the_commands_of_the_core():
    assert set(BUILTIN) == RESERVED_COMMANDS
