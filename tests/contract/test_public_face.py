"""What `bindplug` exports, what importing it costs, and that every hook is documented and tested."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bindplug
from bindplug import errors, hookspecs
from bindplug.plugins import HOOKS

ROOT = Path(__file__).parents[2]
FORBIDDEN = ("torchvision", "open_clip", "transformers", "diffusers", "pandas", "torchaudio", "matplotlib", "click",
             "rich", "av", "soundfile", "detectron2", "timm", "bindplug_toyworld")  # fmt: skip
HOOK_NAMES = [name for name, _, _ in HOOKS]


def modules_after(statement):
    """Names in sys.modules of a fresh process after a statement."""
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_all_is_sorted_unique_and_complete():
    assert list(bindplug.__all__) == sorted(set(bindplug.__all__), key=lambda n: (not n.isupper(), n))
    assert set(bindplug._MODULES) < set(bindplug.__all__)
    for name in bindplug.__all__:
        assert getattr(bindplug, name) is not None
    assert set(bindplug.__all__) <= set(dir(bindplug))


@pytest.mark.parametrize("name", [n for n in bindplug.__all__ if n != "IMAGEBIND_SPACE"])
def test_every_export_explains_itself(name):
    assert inspect.getdoc(getattr(bindplug, name)), f"bindplug.{name} has no docstring"


def test_no_export_is_shadowed_by_a_module_of_its_name():
    files = {path.stem for path in (ROOT / "bindplug").iterdir()}
    assert not files & set(bindplug.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bindplug.nothing


def test_importing_bindplug_imports_nothing_heavy():
    loaded = modules_after("import bindplug")
    assert not loaded & {*FORBIDDEN, "torch", "PIL"}
    assert "bindplug.query" in loaded


def test_listing_plugins_and_models_imports_no_optional_package():
    loaded = modules_after("import bindplug; bindplug.list_plugins(); bindplug.list_models()")
    assert not loaded & set(FORBIDDEN) - {"bindplug_toyworld"}
    assert "bindplug.builtin" in loaded


def test_the_encoder_imports_no_optional_package():
    assert not modules_after("import bindplug.encoder, bindplug.zeroshot, bindplug.models") & set(FORBIDDEN)


def test_the_core_names_no_plugin_in_an_import():
    sources = [*(ROOT / "bindplug").rglob("*.py")]
    assert len(sources) > 30
    imports = re.compile(r"^\s*(?:from|import)\s+(bindplug_\w+)", re.MULTILINE)
    assert {path.name: found for path in sources if (found := imports.findall(path.read_text("utf-8")))} == {}


def test_every_hook_is_handled_by_the_registry():
    declared = [name for name, value in vars(hookspecs).items() if hasattr(value, "bindplug_spec")]
    assert declared == HOOK_NAMES


@pytest.mark.parametrize("hook", HOOK_NAMES)
def test_every_hook_is_documented_with_an_example_and_tested(hook):
    specification = getattr(hookspecs, hook)
    assert "register(" in inspect.getdoc(specification), f"{hook} shows no example"
    signature = f"`{hook}({', '.join(inspect.signature(specification).parameters)})`"
    assert signature in (ROOT / "docs" / "writing_a_plugin.md").read_text("utf-8")
    assert f'"{hook}"' in (ROOT / "tests" / "test_plugins.py").read_text("utf-8")


def test_every_error_is_in_the_tree_and_also_a_builtin():
    defined = [e for e in vars(errors).values() if inspect.isclass(e) and issubclass(e, errors.BindplugError)]
    assert len(defined) > 10
    for error in defined:
        assert error.__name__ in errors.__doc__
        others = [base for base in error.__mro__ if base.__module__ == "builtins"]
        assert error is errors.BindplugError or others[0] is not Exception
