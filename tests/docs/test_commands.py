"""What the pages tell a reader to type exists: commands, options, targets, extras."""

import re
import shlex
import subprocess

import pytest

from bindplug.cli.app import Root
from tests.docs.pages import PAGES, README, ROOT, snippets

SHELL = ("sh", "bash", "console", "")
EVERY = (*PAGES, README)


def lines(page):
    """The page's shell lines, (place, words), continuation lines joined, comments and prompts dropped."""
    for snippet in snippets(page, *SHELL):
        joined = snippet.code.replace("\\\n", " ")
        for line in joined.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True) if _is_command(line) else []
            while words:
                end = next((i for i, word in enumerate(words) if word in ("&&", "|", ";")), len(words))
                yield snippet.place, words[:end]
                words = words[end + 1 :]


def _is_command(line):
    return line.removeprefix("$ ").split(" ")[0] in ("bindplug", "make", "pip")


COMMANDS = [(place, words) for page in EVERY for place, words in lines(page)]
BINDPLUG = [(place, words[1:]) for place, words in COMMANDS if words[0] == "bindplug"]


def test_commands_are_found():
    assert len(BINDPLUG) > 20
    assert {words[0] for _, words in BINDPLUG} >= {
        "embed",
        "compare",
        "convert",
        "verify",
        "detect",
        "generate",
        "bridge",
    }


@pytest.mark.parametrize(("place", "words"), BINDPLUG, ids=[f"{p} {w[0]}" for p, w in BINDPLUG])
def test_the_command_takes_these_arguments(place, words, at_desk):
    command, name = Root("bindplug"), "bindplug"
    context = command.make_context(name, ["--help"], resilient_parsing=True)
    while hasattr(command, "get_command"):
        name, *words = words
        command = command.get_command(context, name)
        assert command is not None, f"{place}: no command {name}"
    command.make_context(name, list(words), parent=context)


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {word for _, words in COMMANDS if words[0] == "make" for word in words[1:] if "=" not in word}
    assert "demo" in targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def test_an_old_python_meets_the_message_of_the_page(tmp_path):
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    made = subprocess.run(
        [ROOT / "scripts" / "make-venv", old, tmp_path / "venv", "demo"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 1
    page = ROOT / "docs" / "troubleshooting.md"
    assert made.stderr.strip() in [s.code.strip() for s in snippets(page, "text")]


def test_extras_exist():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    known = set(re.findall(r"^([\w-]+) = ", section, re.MULTILINE))
    named = set()
    for page in EVERY:
        for extras in re.findall(r"(?:bindplug|\.)\[([\w,-]+)\]", page.read_text(encoding="utf-8")):
            named |= set(extras.split(","))
    assert "detic" in named
    assert named <= known, sorted(named - known)
