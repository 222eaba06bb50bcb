"""Prompts to rows: which route, leaf by leaf, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from bindplug import EmbeddingSpace, audio, depth, embedding, text, thermal
from bindplug.bridges import LinearBridge, VocabularyBridge
from bindplug.errors import InputError, ModalityNotLoaded, NoDirection, SpaceMismatch
from bindplug.testing import FakeEncoder
from bindplug_detic.competition import stands_out
from bindplug_detic.prompts import DetectorClasses, as_queries, label_of
from bindplug_detic.routes import ROUTES, Router
from tests.detic.planted import HERE, NAMES, THERE, PlantedEncoder, here, there

pytestmark = pytest.mark.filterwarnings("ignore::bindplug.bridges.BridgeQuality")

WORDS = DetectorClasses(NAMES, torch.stack([there(name) for name in NAMES]))


def linear_bridge(recentered=True):
    bridge = LinearBridge.fit(
        torch.stack([here(name) for name in NAMES]), WORDS.embeddings, source=HERE, target=THERE
    )
    if recentered:
        bridge.recenter("audio", torch.stack([here(name, "audio") for name in NAMES]))
    return bridge


def router(model=None, words=WORDS, **options):
    return Router(model or PlantedEncoder(), options.pop("space", THERE), lambda: words, **options)


class TestPrompts:
    def test_strings_are_text_and_one_is_a_list_of_one(self):
        assert as_queries("a dog") == [text("a dog")]
        assert as_queries([audio("a.wav"), "b"]) == [audio("a.wav"), text("b")]
        assert as_queries(iter(["b"])) == [text("b")]

    @pytest.mark.parametrize("prompts", [[], (), None, 3, b"dog", {"a": 1}, torch.zeros(2), [3], [None]])
    def test_anything_else_is_refused(self, prompts):
        with pytest.raises(InputError, match=r"queries or strings"):
            as_queries(prompts)

    def test_a_query_without_weight_points_nowhere(self):
        with pytest.raises(NoDirection, match="prompt 1"):
            as_queries(["a", 0 * audio("a.wav")])

    @pytest.mark.parametrize(
        ("query", "label"),
        [
            (text("a dog"), "a dog"),
            (2 * audio("sounds/bark.wav"), "audio bark.wav"),
            (-text("a dog"), "-text('a dog')"),
            (text("a") + text("b"), "text('a') + text('b')"),
            (depth(torch.zeros(1, 4, 4)), "depth"),
        ],
    )
    def test_labels_are_short(self, query, label):
        assert label_of(query) == label


class TestChoice:
    def test_direct_in_one_space(self):
        assert router(space=HERE).choose(audio("dog.wav")) == "direct"

    def test_a_given_bridge_is_used_as_what_it_is(self):
        assert router(bridge=linear_bridge()).choose(text("dog")) == "linear"
        words = VocabularyBridge.fit(
            torch.stack([here(name) for name in NAMES]), WORDS.embeddings, source=HERE, target=THERE
        )
        assert router(bridge=words).choose(text("dog")) == "vocabulary"

    def test_a_registered_bridge_is_used_and_loaded_once(self, monkeypatch):
        bridge, searches = linear_bridge(), []
        monkeypatch.setattr(
            "bindplug_detic.routes.registered_bridge", lambda *spaces: searches.append(spaces) or bridge
        )
        routes = router()
        assert [routes.choose(text("dog")), routes.choose(text("cat"))] == ["linear", "linear"]
        assert routes.linear_bridge() is bridge
        assert searches == [(HERE, THERE)]

    def test_then_the_vocabulary_then_crops(self):
        assert router().choose(audio("dog.wav")) == "vocabulary"
        assert router(words=None).choose(audio("dog.wav")) == "rescore"
        assert router(words=DetectorClasses(None, WORDS.embeddings)).choose(audio("dog.wav")) == "rescore"
        assert router(PlantedEncoder(["image", "audio"])).choose(audio("dog.wav")) == "rescore"

    def test_no_way_at_all(self):
        with pytest.raises(
            SpaceMismatch, match=r"bindplug bridge fit --source .* --target test:there:planted"
        ):
            router(PlantedEncoder(["audio"])).choose(audio("dog.wav"))

    def test_vectors_of_the_detectors_space_need_no_route(self):
        row = embedding(there("dog"), THERE)
        own_router = router()
        assert own_router.choose(row) == "direct"
        assert_close(own_router.rows([row], ["direct"])[0], there("dog"))

    def test_texts_of_a_detector_that_embeds_them(self):
        own_router = router(text_encoder=lambda texts: torch.stack([there(t) for t in texts]))
        assert own_router.choose(text("dog")) == "direct"
        assert own_router.choose(audio("dog.wav")) == "vocabulary"
        assert_close(own_router.rows([text("dog")], ["direct"])[0], there("dog"))

    def test_routes_are_one_for_all_or_one_each(self):
        queries = [text("dog"), audio("cat.wav")]
        assert router().routes(queries, "rescore") == ["rescore", "rescore"]
        assert router().routes(queries, ["linear", "rescore"]) == ["linear", "rescore"]
        assert router().routes(queries, None) == ["vocabulary", "vocabulary"]
        for wrong in ("magic", ["linear"], ["linear", "magic"]):
            with pytest.raises(InputError, match=r"route: found .*rescore|route: .*expected one of"):
                router().routes(queries, wrong)


class TestRefusals:
    def test_direct_between_two_spaces(self):
        with pytest.raises(SpaceMismatch, match="the route 'direct'"):
            router().rows([text("dog")], ["direct"])

    def test_linear_without_a_bridge_says_how_to_fit_one(self):
        with pytest.raises(
            SpaceMismatch, match=r"bindplug bridge fit --source .* -o my-bridge, then upgrade"
        ):
            router().rows([text("dog")], ["linear"])

    @pytest.mark.parametrize(
        "words",
        [None, DetectorClasses(None, WORDS.embeddings), DetectorClasses(("dog",), WORDS.embeddings[:1])],
    )
    def test_vocabulary_without_names(self, words):
        with pytest.raises(InputError, match="set_vocabulary"):
            router(words=words).rows([text("dog")], ["vocabulary"])

    def test_vocabulary_without_a_text_tower(self):
        with pytest.raises(ModalityNotLoaded, match="text"):
            router(PlantedEncoder(["audio"])).rows([audio("dog.wav")], ["vocabulary"])

    @pytest.mark.parametrize("model", [None, "imagebind_tiny", object()])
    def test_no_model(self, model):
        with pytest.raises(InputError, match=r"bindplug\.load"):
            Router(model, THERE, lambda: None)

    def test_bridges_that_lead_elsewhere(self):
        with pytest.raises(SpaceMismatch, match="the bridge to"):
            router(FakeEncoder(), bridge=linear_bridge())
        with pytest.raises(SpaceMismatch, match="this detector"):
            router(bridge=linear_bridge(), space=EmbeddingSpace("test:third", 48))
        with pytest.raises(InputError, match=r"bindplug\.bridges\.Bridge"):
            router(bridge=3)

    def test_a_prompt_without_its_tower(self):
        with pytest.raises(ModalityNotLoaded, match="thermal"):
            router().rows([text("dog") + thermal("dog.png")], ["vocabulary"])


class TestRows:
    @pytest.mark.parametrize("modality", [text, audio])
    @pytest.mark.parametrize("name", ["dog", "bee"])
    def test_a_bridge_brings_each_modality_to_its_word(self, modality, name):
        for route, options in (("linear", {"bridge": linear_bridge()}), ("vocabulary", {})):
            row = router(**options).rows([modality(f"{name}.wav")], [route])[0]
            cosines = torch.stack([there(other) for other in NAMES]) @ row
            assert NAMES[int(cosines.argmax())] == name, route
            assert cosines.max() > 0.97, f"{route}: the row must share the mean of the target's text"

    def test_a_center_the_bridge_lacks_is_taken_from_the_model(self):
        bridge = linear_bridge(recentered=False)
        knowing = router(PlantedEncoder(), bridge=bridge).rows([audio("dog.wav")], ["linear"])[0]
        ignorant = router(PlantedEncoder(knows_centers=False), bridge=bridge)
        plain = ignorant.rows([audio("dog.wav")], ["linear"])[0]
        assert knowing @ there("dog") > 0.99 > plain @ there("dog")

    def test_leaves_are_mapped_by_their_own_modality(self):
        bridge, requests = linear_bridge(), []

        class Spy:
            kind, source, target, modalities, target_mean = (
                "linear",
                HERE,
                THERE,
                ("text", "audio"),
                bridge.target_mean,
            )

            def __call__(self, rows, modality="text"):
                requests.append(list(modality))
                return bridge(rows, modality)

        query = audio("dog.wav") + text("cat") - 0.5 * audio("car.wav")
        row = router(bridge=Spy()).rows([query, text("cat")], ["linear", "linear"])
        assert requests == [["audio", "text", "audio"]], "every distinct leaf once"
        cosines = torch.stack([there(name) for name in NAMES]) @ row[0]
        best = [NAMES[i] for i in cosines.topk(2).indices.tolist()]
        assert set(best) == {"dog", "cat"}
        assert NAMES[int(cosines.argmin())] == "car"

    def test_a_difference_keeps_the_mean_of_the_space(self):
        mean = linear_bridge().target_mean
        single, difference = router(bridge=linear_bridge()).rows(
            [text("dog"), text("dog") - text("car")], ["linear", "linear"]
        )
        assert single @ mean == pytest.approx(float(difference @ mean), abs=0.05)

    def test_direct_moves_sounds_to_where_text_lies(self):
        row = router(space=HERE).rows([audio("dog.wav"), text("dog")], ["direct", "direct"])
        assert row[0] @ row[1] > 0.99 > here("dog", "audio") @ here("dog")

    def test_routes_may_differ(self):
        rows = router(bridge=linear_bridge()).rows([text("dog"), text("dog")], ["vocabulary", "linear"])
        assert rows.shape == (2, 48)
        assert_close(rows.norm(dim=1), torch.ones(2))
        assert not torch.equal(rows[0], rows[1])

    def test_the_vocabulary_bridge_is_made_once_for_a_vocabulary(self):
        held = [WORDS]
        model = PlantedEncoder()
        own_router = Router(model, THERE, lambda: held[0])
        first = own_router.vocabulary_bridge()
        assert own_router.vocabulary_bridge() is first
        assert first.names == NAMES
        assert model.embedded[0] == [text(f"a {name}") for name in NAMES]
        held[0] = DetectorClasses(NAMES[:12], WORDS.embeddings[:12])
        assert own_router.vocabulary_bridge().names == NAMES[:12]


class TestMeaning:
    ROWS = torch.stack([here(name) for name in NAMES])

    def test_a_class_stands_out_and_a_mean_does_not(self):
        assert all(stands_out(row, self.ROWS) for row in self.ROWS)
        assert not stands_out(self.ROWS.mean(0) + 1e-3 * torch.ones(48), self.ROWS)

    @pytest.mark.parametrize(("count", "most"), [(20, 0.12), (200, 0.06), (1203, 0.03)])
    def test_few_random_directions_stand_out(self, count, most):
        generator = torch.Generator().manual_seed(count)
        classes = torch.nn.functional.normalize(torch.randn(count, 256, generator=generator), dim=1)
        rows = torch.randn(200, 256, generator=generator)
        assert sum(stands_out(row, classes) for row in rows) <= most * len(rows)
        assert all(stands_out(row + 0.5 * rows[0] / 16, classes) for row in classes[:20])

    def test_synonyms_of_the_nearest_class_are_no_rivals(self):
        synonyms = torch.nn.functional.normalize(self.ROWS[:1] + 0.01 * torch.randn(30, 48), dim=1)
        assert stands_out(self.ROWS[0], torch.cat([self.ROWS, synonyms]))

    def test_few_classes_judge_nothing(self):
        assert stands_out(torch.ones(48), self.ROWS[:5])

    def test_a_sum_means_what_one_of_its_parts_means(self):
        routes = router()
        noise = embedding(self.ROWS.mean(0), HERE, modality="text")
        sums = [text("dog") + noise, noise, noise - text("dog"), text("dog") + text("car")]
        _, meanings = routes.map_prompts(sums, ["vocabulary"] * 4)
        assert meanings == [True, False, False, True]

    def test_the_linear_route_judges_no_text(self):
        noise = embedding(self.ROWS.mean(0), HERE, modality="text")
        assert router(bridge=linear_bridge()).map_prompts([noise], ["linear"])[1] == [True]


def test_the_routes_have_an_order():
    assert ROUTES == ("direct", "linear", "vocabulary", "rescore")
