"""Every piece of Python in the pages and the README runs, page by page, as a reader would run it.

A comment before a fence says what is special about it:

``<!-- snippet: needs weights -->`` needs something this machine does not have, so it is only compiled;
``<!-- snippet: raises InputError -->`` raises just that, with the message of the next block, in which ``…`` stands
for anything; ``... without soundfile`` hides a package meanwhile;
``<!-- snippet: run -->`` before shell lines runs their ``bindplug`` commands.
"""

import re
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from bindplug import errors
from bindplug.cli.app import run
from tests.docs.pages import PAGES, README, ROOT, snippets

ABSENT = {"weights", "detectron2", "acme"}
"""What a snippet may need."""
PYTHON = {page: snippets(page, "python", "py") for page in (*PAGES, README)}
WITH_PYTHON = [page for page, found in PYTHON.items() if found]


def test_the_pages_with_python_are_found():
    names = {page.name for page in WITH_PYTHON}
    assert {"README.md", "tutorial.md", "detic.md", "diffusers.md", "troubleshooting.md"} <= names
    assert sum(len(found) for found in PYTHON.values()) > 50


def test_markers_are_known():
    for snippet in (s for found in PYTHON.values() for s in found if s.marker):
        verb, subject, *rest = snippet.marker.split()
        known = subject in ABSENT if verb == "needs" else hasattr(errors, subject)
        assert known, f"{snippet.place}: {snippet.marker}"
        assert not rest or rest[0] == "without", f"{snippet.place}: {snippet.marker}"


def test_most_of_it_runs():
    every = [s for page in PAGES for s in PYTHON[page]]
    unrun = [s for s in every if s.marker.startswith("needs") and not _is_here(s)]
    assert len(unrun) < len(every) / 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_page_runs(page, at_desk, capsys):
    names = {"__name__": "page"}
    opening = {}  # after the README's first piece, with which each of the others starts
    blocks = snippets(page)
    for position, snippet in enumerate(blocks):
        if snippet.language == "sh" and snippet.marker == "run":
            _run_shell(snippet)
        if snippet.language not in ("python", "py"):
            continue
        code = compile(snippet.code, snippet.place, "exec", dont_inherit=True)
        if snippet.marker.startswith("raises"):
            _check_error(snippet, code, names, blocks[position + 1])
        elif _is_here(snippet):
            names = dict(opening) if page == README and opening else names
            exec(code, names)
            opening = opening or names


def _run_shell(snippet):
    for line in snippet.code.splitlines():
        program, *words = shlex.split(line, comments=True)
        assert program == "bindplug", f"{snippet.place}: {line}"
        quoted = set(re.findall(r"'([^']*)'", line))  # as a shell, which leaves quoted patterns alone
        arguments = [name for word in words for name in ([word] if word in quoted else _expanded(word))]
        assert run(arguments) == 0, f"{snippet.place}: {line}"


def _expanded(word):
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


def _is_here(snippet):
    return not snippet.marker.startswith("needs")


def _check_error(snippet, code, names, shown):
    _, kind, *rest = snippet.marker.split()
    with _without(rest[1:]), pytest.raises(getattr(errors, kind)) as caught:
        exec(code, names)
    found = f"{type(caught.value).__module__}.{type(caught.value).__name__}: {caught.value}"
    assert shown.language == "text", f"{snippet.place}: no message follows"
    pattern = re.escape(_flat(shown.code)).replace("…", ".*?")
    assert re.fullmatch(pattern, _flat(found)), (
        f"{snippet.place}: the page shows another message than\n{found}"
    )


def _flat(text):
    """Lines of a message are wrapped on a page."""
    return re.sub(r"\s+", " ", text).strip()


@contextmanager
def _without(packages):
    """As if these were not installed."""
    hidden = {name: sys.modules.get(name) for name in packages}
    sys.modules.update(dict.fromkeys(packages))
    try:
        yield
    finally:
        for name, module in hidden.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module
