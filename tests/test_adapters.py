import copy
import sys
import types
from importlib.metadata import EntryPoint

import pytest

from bindplug import hookimpl, plugins, upgrade
from bindplug.adapters import Upgraded
from bindplug.cards import AdapterCard, BridgeCard, is_instance_by_name
from bindplug.errors import AmbiguousUpgrade, MissingDependency, PluginError, SpaceMismatch, UnsupportedTarget
from bindplug.space import EmbeddingSpace
from bindplug.testing import FAKE_SPACE, FakeEncoder


class Radio:
    volume = 3

    def play(self):
        return "music"


def adapter(name="radio", **changes):
    card = {"target": "toy_adapter:wrap", "recognises": lambda o: is_instance_by_name(o, f"{__name__}.Radio")}
    return AdapterCard(name=name, **{**card, **changes})


@pytest.fixture
def install(monkeypatch):
    """Plugins that register the given cards."""
    entries = []
    toy = types.ModuleType("toy_adapter")
    toy.wrap = lambda original, model, *, bridge=None, **options: Tuned(original, model, bridge, options)
    toy.same = lambda original, model, *, bridge=None: original
    monkeypatch.setitem(sys.modules, "toy_adapter", toy)
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
    plugins.refresh()

    def add(name, *cards, bridges=()):
        made = types.ModuleType(f"plugin_{name}")

        @hookimpl
        def register_adapters(register):
            for card in cards:
                register(card)

        @hookimpl
        def register_bridges(register):
            for card in bridges:
                register(card)

        made.register_adapters, made.register_bridges = register_adapters, register_bridges
        monkeypatch.setitem(sys.modules, made.__name__, made)
        entries.append(EntryPoint(name, made.__name__, "bindplug"))
        plugins.refresh()

    yield add
    plugins.refresh()


class Tuned(Upgraded):
    def __init__(self, original, model, bridge, options):
        super().__init__(original, model)
        self.bridge, self.options = bridge, options

    def play(self):
        return f"tuned {self.original.play()}"


def test_the_adapter_that_recognises_the_object_wraps_it(install):
    install("radios", adapter())
    radio, model = Radio(), FakeEncoder()
    tuned = upgrade(radio, model, bridge="b", strength=2)
    assert (tuned.play(), radio.play()) == ("tuned music", "music")
    assert (tuned.original, tuned.model, tuned.bridge, tuned.options) == (radio, model, "b", {"strength": 2})


def test_nobody_recognising_lists_who_was_asked(install):
    def confused(target):
        raise RuntimeError("no idea")

    install("radios", adapter())
    install("others", adapter("phone", recognises=confused))
    with pytest.raises(UnsupportedTarget) as caught:
        upgrade(object())
    message = str(caught.value)
    assert "builtins.object" in message
    assert "'radio' of plugin 'radios' does not recognize it" in message
    assert "'phone' of plugin 'others' failed when asked (RuntimeError: no idea)" in message


def test_plugins_that_could_not_be_asked_are_named(install, monkeypatch):
    install("radios", adapter())
    monkeypatch.setenv("BINDPLUG_DISABLE", "radios")
    with pytest.raises(UnsupportedTarget, match=r"No adapter is registered.*'radios' is blocked"):
        upgrade(Radio())


def test_two_claims_are_ambiguous(install):
    install("radios", adapter())
    install("others", adapter("wireless"))
    with pytest.raises(
        AmbiguousUpgrade, match="'wireless' of plugin 'others' and 'radio' of plugin 'radios'"
    ):
        upgrade(Radio())


def test_an_adapters_missing_package_is_named(install):
    install("radios", adapter(requires=("no_such_package",), extra="fm"))
    with pytest.raises(MissingDependency, match=r"plugin_radios\[fm\]"):
        upgrade(Radio())


def test_a_tool_of_another_space_needs_a_bridge(install):
    b32 = EmbeddingSpace("open_clip:ViT-B-32:laion2b", 512)
    fake_to_b32 = BridgeCard(name="fake-to-b32", source=FAKE_SPACE, destination=b32, target="x:y")
    back = BridgeCard(name="back", source=b32, destination=FAKE_SPACE, target="x:y")
    install("radios", adapter(space=b32), bridges=[fake_to_b32, back])
    with pytest.raises(SpaceMismatch, match=r"'radio'.*bridges that do: fake-to-b32$"):
        upgrade(Radio(), FakeEncoder())
    assert upgrade(Radio(), FakeEncoder(), bridge=object()).play() == "tuned music"
    assert upgrade(Radio(), FakeEncoder(space=b32)).play() == "tuned music"


def test_an_adapter_that_returns_the_original_breaks_the_contract(install):
    install("radios", adapter(target="toy_adapter:same"))
    with pytest.raises(PluginError, match=r"'radios'.*must wrap it"):
        upgrade(Radio())


def test_a_wrapper_has_everything_the_original_has_and_keeps_its_changes():
    radio = Radio()
    wrapped = Upgraded(radio)
    assert wrapped.volume == 3
    assert wrapped.play == radio.play
    assert {"volume", "play", "model"} <= set(dir(wrapped))
    wrapped.volume = 9
    assert (wrapped.volume, radio.volume) == (9, 3)
    with pytest.raises(AttributeError, match="channel"):
        _ = wrapped.channel


def test_a_wrapper_can_be_copied():
    wrapped = copy.deepcopy(Upgraded(Radio()))
    assert wrapped.play() == "music"
    assert copy.copy(wrapped).original is wrapped.original
    assert repr(wrapped).startswith("Upgraded(")
