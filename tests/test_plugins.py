import json
import sys
import types
from importlib.metadata import EntryPoint

import pytest

from bindplug import hookimpl, plugins, text
from bindplug.cards import (
    AdapterCard,
    BridgeCard,
    CommandCard,
    EngineCard,
    IndexCard,
    InputCard,
    ModelCard,
    ModelSourceCard,
)
from bindplug.errors import MissingDependency, PluginError, UnknownReader
from bindplug.plugins import Registry
from bindplug.space import IMAGEBIND_SPACE, EmbeddingSpace
from bindplug.testing import FAKE_SPACE

CARDS = {
    "register_models": ModelCard(
        name="m", modalities=("text",), space=FAKE_SPACE, license="MIT", loader="x:y"
    ),
    "register_model_sources": ModelSourceCard(name="s", target="x:y"),
    "register_adapters": AdapterCard(name="a", target="x:y", recognises=lambda target: False),
    "register_spaces": FAKE_SPACE,
    "register_bridges": BridgeCard(name="b", source=IMAGEBIND_SPACE, destination=FAKE_SPACE, target="x:y"),
    "register_inputs": InputCard(name="r", modality="text", target=f"{__name__}:read_shout"),
    "register_commands": CommandCard(name="c", description="does c", target="x:y"),
    "register_indexes": IndexCard(name="i", open="x:y", recognises=lambda path: False),
    "register_engines": EngineCard(name="e", target="x:y"),
}


def read_shout(source, **options):
    return text(source.upper(), **options)


def module(**hooks):
    """A plugin module whose hooks register the given cards."""
    made = types.ModuleType("made_plugin")
    for name, cards in hooks.items():

        def hook(register, cards=cards):
            for card in cards if isinstance(cards, list) else [cards]:
                register(card)

        setattr(made, name, hookimpl(hook))
    return made


@pytest.fixture
def install(monkeypatch):
    """Puts plugin modules behind entry points, as installing their distributions would."""
    entries = []

    def add(name, plugin):
        module_name = f"installed_{name.replace('-', '_')}"
        if plugin is not None:
            monkeypatch.setitem(sys.modules, module_name, plugin)
        entries.append(EntryPoint(name, module_name, "bindplug"))
        plugins.refresh()

    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
    monkeypatch.setitem(
        sys.modules, __name__, sys.modules.get(__name__) or types.SimpleNamespace(**globals())
    )
    plugins.refresh()
    yield add
    plugins.refresh()


def status(name):
    return next(plugin for plugin in plugins.list_plugins() if plugin.name == name)


@pytest.mark.parametrize("hook", sorted(CARDS))
def test_what_a_hook_registers_is_found_with_its_provenance(install, hook):
    install("mine", module(**{hook: CARDS[hook]}))
    kind = hook.removeprefix("register_")
    entry = getattr(plugins.registry(), kind)[CARDS[hook].name]
    assert entry.card is CARDS[hook]
    assert entry.plugin is status("mine")
    assert status("mine").status == "ready"
    assert status("mine").provides == [f"{kind}:{CARDS[hook].name}"]


def test_the_core_registers_imagebind_through_the_same_door(install):
    card = plugins.registry().models["imagebind_huge"].card
    assert card.license == "CC-BY-NC-4.0"
    assert card.space is IMAGEBIND_SPACE
    assert status("imagebind").provides == ["models:imagebind_huge", f"spaces:{IMAGEBIND_SPACE.name}"]


def broken_hook():
    made = module()

    @hookimpl
    def register_models(register):
        raise RuntimeError("out of coffee")

    made.register_models = register_models
    return made


def misspelt_hook():
    made = module()
    made.register_model = hookimpl(lambda register: None, specname="register_model")
    return made


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (broken_hook(), "RuntimeError: out of coffee"),
        (module(register_models="no card"), "registered a str; expected ModelCard"),
        (module(register_adapters=CARDS["register_models"]), "registered a ModelCard; expected AdapterCard"),
        (misspelt_hook(), "register_model"),
        (module(), "implements none of bindplug's hooks"),
        (None, "No module named 'installed_bad'"),
    ],
)  # fmt: skip
def test_a_broken_plugin_is_reported_and_stops_nobody(install, plugin, reason):
    install("bad", plugin)
    install("good", module(register_models=CARDS["register_models"]))
    assert status("bad").status == "broken"
    assert reason in status("bad").reason
    assert status("good").status == status("imagebind").status == "ready"


def test_a_broken_plugin_leaves_nothing_behind(install):
    install("bad", module(register_models=CARDS["register_models"], register_inputs="no card"))
    assert status("bad").status == "broken"
    assert "m" not in plugins.registry().models


def test_a_plugin_whose_package_is_absent_is_unavailable_with_the_pip_line(install, monkeypatch, tmp_path):
    (tmp_path / "installed_lasers.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    install("lasers", None)
    assert status("lasers").status == "unavailable"
    assert status("lasers").remedy == "pip install no_such_package"


def test_cards_whose_requirements_are_absent(install):
    lacking = ModelCard(name="l", modalities=("text",), space=FAKE_SPACE, license="MIT", loader="x:y",
                        requires=("no_such_package",), extra="lasers")  # fmt: skip
    install("alone", module(register_models=lacking))
    assert status("alone").status == "unavailable"
    assert status("alone").remedy == 'pip install "installed_alone[lasers]"'
    with pytest.raises(MissingDependency, match="lasers"):
        plugins.registry().models["l"].load("x:y")


def test_a_partly_usable_plugin_is_ready_and_says_what_is_missing(install):
    lacking = InputCard(name="l", modality="text", target="x:y", requires=("no_such_package",))
    install("partly", module(register_inputs=lacking, register_models=CARDS["register_models"]))
    assert status("partly").status == "ready"
    assert status("partly").reason == "l needs no_such_package"


def test_a_collision_names_both_owners(install):
    install("first", module(register_models=CARDS["register_models"]))
    install("second", module(register_models=CARDS["register_models"]))
    assert status("second").status == "broken"
    for owner in ("'first' (installed_first)", "'second' (installed_second)", "BINDPLUG_DISABLE"):
        assert owner in status("second").reason
    assert plugins.registry().models["m"].plugin.name == "first"


def test_two_plugins_may_name_the_same_space_but_not_two_under_one_name(install):
    install("first", module(register_spaces=FAKE_SPACE))
    install("second", module(register_spaces=EmbeddingSpace(FAKE_SPACE.name, FAKE_SPACE.width)))
    install("third", module(register_spaces=EmbeddingSpace(FAKE_SPACE.name, 99)))
    assert status("second").status == "ready"
    assert status("third").status == "broken"


def test_two_plugins_of_one_name_are_both_listed(install):
    install("mine", module(register_models=CARDS["register_models"]))
    install("mine", module(register_inputs=CARDS["register_inputs"]))
    both = [plugin for plugin in plugins.list_plugins() if plugin.name == "mine"]
    assert [plugin.status for plugin in both] == ["ready", "broken"]
    assert "belongs to" in both[1].reason


def test_disabling_is_read_at_each_call(install, monkeypatch):
    install("mine", module(register_models=CARDS["register_models"]))
    assert "m" in plugins.registry().models
    monkeypatch.setenv("BINDPLUG_DISABLE", " mine , imagebind")
    assert plugins.registry().models == {}
    assert status("mine").status == "blocked"
    assert "BINDPLUG_DISABLE" in status("mine").reason
    monkeypatch.delenv("BINDPLUG_DISABLE")
    assert "m" in plugins.registry().models


def test_a_disabled_plugin_is_not_imported(install, monkeypatch):
    monkeypatch.setenv("BINDPLUG_DISABLE", "bad")
    install("bad", None)
    assert status("bad").status == "blocked"


def test_a_plugin_describes_itself_in_plain_data(install):
    install("mine", module(register_models=CARDS["register_models"]))
    assert json.loads(json.dumps(vars(status("mine"))))["name"] == "mine"


def test_read_uses_a_plugins_reader(install):
    install("mine", module(register_inputs=CARDS["register_inputs"]))
    assert plugins.read("r", "hello", truncate=False) == text("HELLO", truncate=False)
    with pytest.raises(UnknownReader, match="known: r"):
        plugins.read("s", "hello")


def test_a_reader_must_return_a_query(install):
    install("mine", module(register_inputs=InputCard(name="r", modality="text", target="builtins:str")))
    with pytest.raises(PluginError, match=r"'mine'.*returned a str"):
        plugins.read("r", "hello")


def test_registering_by_hand_is_the_same_door(monkeypatch):
    monkeypatch.setitem(sys.modules, "handmade", module(register_models=CARDS["register_models"]))
    registry = Registry()
    plugin = registry.add(EntryPoint("hand", "handmade", "bindplug"))
    assert (plugin.status, list(registry.models)) == ("ready", ["m"])
