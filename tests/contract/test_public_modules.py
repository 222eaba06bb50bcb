"""Plugins, recipes and examples use public names of public modules, as third parties would."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "public_api.md"

PUBLIC = (
    "bindplug",
    "bindplug.adapters",
    "bindplug.bench",
    "bindplug.bound",
    "bindplug.bridges",
    "bindplug.cards",
    "bindplug.centers",
    "bindplug.cli.building",
    "bindplug.combined",
    "bindplug.corpus",
    "bindplug.directories",
    "bindplug.encoder",
    "bindplug.errors",
    "bindplug.examples",
    "bindplug.fast",
    "bindplug.files",
    "bindplug.fingerprint",
    "bindplug.foreign",
    "bindplug.hookspecs",
    "bindplug.hub",
    "bindplug.imagebind",
    "bindplug.indexes",
    "bindplug.inputs",
    "bindplug.lazy",
    "bindplug.modality",
    "bindplug.models",
    "bindplug.plugins",
    "bindplug.progress",
    "bindplug.query",
    "bindplug.space",
    "bindplug.templates",
    "bindplug.testing",
    "bindplug.thresholds",
    "bindplug.training",
    "bindplug.zeroshot",
)


def core_imports() -> Iterator[tuple[str, str, str]]:
    """File, module and name of every import of the core outside of it."""
    for room in ("plugins", "examples", "recipes"):
        for path in sorted((ROOT / room).rglob("*.py")):
            where = str(path.relative_to(ROOT))
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    for alias in node.names:
                        if alias.name.partition(".")[0] == "bindplug":
                            yield where, alias.name, ""
                elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "bindplug":
                    for alias in node.names:
                        yield where, node.module or "", alias.name


def test_only_public_names_are_imported():
    imports = list(core_imports())
    assert len(imports) > 300
    inner = sorted({f"{where}: {module}" for where, module, _ in imports if module not in PUBLIC})
    assert not inner, f"inner modules are imported: {inner}"
    exports = {module: set(importlib.import_module(module).__all__) for module in PUBLIC}
    private = sorted(
        f"{where}: {module}.{name}"
        for where, module, name in imports
        if name and name not in exports[module] and f"{module}.{name}" not in PUBLIC
    )
    assert not private, f"names that are not public are imported: {private}"


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_exists_and_explains_itself(module):
    imported = importlib.import_module(module)
    assert inspect.getdoc(imported)
    assert len(imported.__all__) == len(set(imported.__all__))
    for name in imported.__all__:
        value = getattr(imported, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{module}.{name} has no docstring"


def test_the_page_lists_the_public_modules():
    listed = re.findall(r"^\| `(bindplug[\w.]*)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert listed == list(PUBLIC)


@pytest.mark.parametrize(
    "package",
    ["bindplug_detic", "bindplug_diffusers", "bindplug_search", "bindplug_toyworld", "bindplug_transformers"],
)
def test_no_export_of_a_plugin_has_the_name_of_a_module(package):
    """Importing the module would put it in the place of the export."""
    modules = {path.stem for path in (ROOT / "plugins" / package).iterdir()}
    exports = set(importlib.import_module(package).__all__)
    assert exports
    assert not modules & exports
