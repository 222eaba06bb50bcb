import sys
import types

import pytest

from bindplug.cards import (
    AdapterCard,
    InputCard,
    ModelCard,
    allows_commercial_use,
    is_instance_by_name,
    resolve,
)
from bindplug.errors import MissingDependency, PluginError, UnknownModality
from bindplug.testing import FAKE_SPACE


def card(**changes):
    return ModelCard(**{"name": "m", "modalities": ("text",), "space": FAKE_SPACE, "license": "MIT",
                        "loader": "a:b", **changes})  # fmt: skip


def test_a_requirement_is_looked_up_and_not_imported():
    adapter = AdapterCard(name="a", target="x:y", recognises=bool, requires=("turtledemo", "no_such_package"))
    sys.modules.pop("turtledemo", None)
    assert adapter.missing() == ("no_such_package",)
    assert "turtledemo" not in sys.modules
    assert card(requires=("no_such.module",)).missing() == ("no_such.module",)


def test_the_pip_line_names_the_plugins_distribution_and_extra():
    with pytest.raises(MissingDependency, match=r'pip install "acme-bind\[lasers\]"') as caught:
        card(requires=("no_such_package",), extra="lasers").ensure_available("acme", "acme-bind")
    assert (caught.value.module, caught.value.extra, caught.value.reason) == (
        "no_such_package",
        "lasers",
        "absent",
    )
    with pytest.raises(MissingDependency, match="pip install no_such_package"):
        card(requires=("no_such_package",)).ensure_available("acme", "acme-bind")


def test_cards_check_what_they_say():
    assert card(modalities=("text", "imu")).modalities == ("text", "imu")
    assert card(url="https://host/dir/w.pth").filename == "w.pth"
    with pytest.raises(UnknownModality):
        card(modalities=("smell",))
    with pytest.raises(UnknownModality):
        InputCard(name="x", modality="smell", target="a:b")
    with pytest.raises(PluginError, match="weights, url nor loader"):
        card(loader="")


def test_resolve_imports_on_demand():
    assert resolve("bindplug.cards:ModelCard.missing", "me") is ModelCard.missing


@pytest.mark.parametrize(
    "target", ["bindplug.cards", "bindplug.cards:", "bindplug.cards:Nothing", "no_such_module:x"]
)
def test_a_wrong_target_names_the_plugin(target):
    with pytest.raises(PluginError, match="plugin 'me'"):
        resolve(target, "me")


def test_a_targets_own_missing_import_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        resolve("needs_more:x", "me")


def test_instances_are_recognised_by_the_name_of_any_base():
    base = type("Pipeline", (), {"__module__": "acme.deep.down"})
    child = type("Child", (base,), {"__module__": "elsewhere"})
    assert is_instance_by_name(child(), "acme.Pipeline")
    assert not is_instance_by_name(child(), "acm.Pipeline")
    assert not is_instance_by_name(types.SimpleNamespace(), "acme.Pipeline")


@pytest.mark.parametrize(
    ("license", "expected"),
    [
        ("Apache-2.0", True),
        ("mit", True),
        ("CC-BY-4.0", True),
        ("CC-BY-NC-4.0", False),
        ("cc-by-nc-sa-4.0", False),
        ("gemma", None),
        ("CC-BY-SA-4.0", None),
        ("", None),
    ],
)
def test_which_licenses_allow_commercial_use(license, expected):
    assert allows_commercial_use(license) is expected
