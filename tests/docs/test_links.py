"""Links and anchors lead somewhere; the site holds every page; the reference names what there is."""

import re
from importlib import import_module

import pytest

import bindplug
from bindplug import bridges, errors, inputs, training
from tests.docs.pages import DOCS, FENCE, PAGES, README, ROOT, prose

LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
REFERENCE = sorted((DOCS / "reference").glob("*.md"))


def anchors(page):
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+?)\s*$", text, re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}


@pytest.mark.parametrize("page", [*PAGES, README], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page):
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        assert to.exists(), f"{page.name}: {target}"
        assert page == README or DOCS in (to, *to.parents), f"{page.name}: {target} is not on the site"
        assert not anchor or anchor in anchors(to), f"{page.name}: {target} has no such heading"


def test_there_are_links_to_check():
    assert sum(len(LINK.findall(prose(page))) for page in PAGES) > 40


def test_the_site_lists_every_page():
    listed = re.findall(r":\s+([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def resolved(name):
    """The object of a dotted name."""
    path, missing = name.split("."), []
    while path:
        try:
            found = import_module(".".join(path))
            break
        except ModuleNotFoundError:
            missing.insert(0, path.pop())
    for attribute in missing:
        found = getattr(found, attribute)
    return found


def test_the_reference_names_what_exists():
    """Of the core; that of the plugins is found when the site is built, without importing what they import."""
    named = [name for page in REFERENCE for name in NAMED.findall(page.read_text(encoding="utf-8"))]
    core = [name for name in named if name.startswith("bindplug.")]
    assert len(named) == len(set(named))
    assert len(core) > 40
    for name in core:
        assert resolved(name) is not None, name


@pytest.mark.parametrize(
    ("page", "module"),
    [("core.md", bindplug), ("inputs.md", inputs), ("bridges.md", bridges), ("training.md", training)],
)
def test_the_reference_is_complete(page, module):
    text = (DOCS / "reference" / page).read_text(encoding="utf-8")
    described = {name.rpartition(".")[2] for name in NAMED.findall(text)}
    others = [other for other in REFERENCE if other.name in ("plugins.md", "errors.md", "bridges.md")]
    elsewhere = {
        name.rpartition(".")[2]
        for other in others
        for name in NAMED.findall(other.read_text(encoding="utf-8"))
    }
    elsewhere = elsewhere | {"BindplugError"} if module is bindplug else set()
    assert set(module.__all__) - elsewhere <= described


def test_every_error_is_in_the_tree_of_the_reference():
    assert "::: bindplug.errors" in (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    assert len([name for name in vars(errors) if name in errors.__doc__]) > 10


def test_every_class_of_warning_stands_in_the_reference():
    source = [*(ROOT / "bindplug").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    warned = [
        name
        for file in source
        for name in re.findall(r"^class (\w+)\(UserWarning\)", file.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert {"SkippedInputs", "VocabularyMismatch", "MeaninglessPrompt"} <= set(warned)
    pages = "\n".join(page.read_text(encoding="utf-8") for page in REFERENCE)
    named = {name.rpartition(".")[2] for name in NAMED.findall(pages)} | set(errors.__all__)
    assert [name for name in warned if name not in named] == []
