"""bindplug.upgrade on an open_clip model: told apart by weights, towers shared, the original untouched."""

from __future__ import annotations

import copy
import pickle

import open_clip as real
import pytest
import torch
from torch import nn
from torch.testing import assert_close

import bindplug
import bindplug_open_clip as open_clip
from bindplug import EmbeddingSpace, audio, image, list_plugins, text
from bindplug.errors import InputError, SpaceMismatch, UnsupportedTarget, WeightsNotFound
from bindplug.imagebind import ImageBind, to_open_clip
from bindplug.testing import AdapterContract, difference, snapshot
from bindplug_open_clip import UpgradedClip
from bindplug_open_clip.adapter import BridgedClip
from tests.open_clip.conftest import CONFIG, NAME, SPACE, inputs, picture, random_imagebind

X = inputs()
TOKENS = real.tokenize(["a dog", "two cats on a mat"])
THERE = EmbeddingSpace("open_clip:other:test", 64)


def toy_clip(kind=real.CLIP):
    """open_clip's own class holding the image and text towers of the registered model."""
    clip = kind(**open_clip.get_model_config(NAME))
    state = to_open_clip(random_imagebind().official_state_dict())
    if kind is real.CustomTextCLIP:
        state = real.model.convert_to_custom_text_state_dict(state)
    clip.load_state_dict(state)
    return clip.eval()


def other_clip(**changes):
    torch.manual_seed(5)
    return real.CLIP(**{**open_clip.get_model_config(NAME), "embed_dim": 64, **changes}).eval()


class Bridge:
    """The first 64 numbers of a row."""

    kind, target_mean, modalities = "linear", None, ("text", "audio", "depth")
    source, target = SPACE, THERE

    def __call__(self, rows, modality="text"):
        self.modality = modality
        return nn.functional.normalize(rows[:, :64].float(), dim=-1)


class TestContract(AdapterContract):
    def make_target(self):
        return toy_clip()

    def make_model(self):
        return random_imagebind()

    @torch.no_grad()
    def use_original(self, target):
        return target.encode_text(TOKENS, normalize=True), *target(X["image"], TOKENS)

    @torch.no_grad()
    def use_upgraded(self, upgraded, weight):
        words = upgraded.encode_text(TOKENS, normalize=True)
        return words + weight * upgraded.encode_audio(X["audio"], True), *upgraded(X["image"], TOKENS)


@pytest.mark.parametrize("kind", [real.CLIP, real.CustomTextCLIP])
def test_the_towers_are_shared_and_the_senses_are_imagebinds(kind):
    clip, official = toy_clip(kind), random_imagebind()
    before = snapshot(clip)
    upgraded = bindplug.upgrade(clip)
    assert isinstance(upgraded, UpgradedClip)
    assert isinstance(upgraded, kind)
    assert upgraded.embedding_space == SPACE
    assert upgraded.visual is clip.visual
    theirs = {id(parameter) for parameter in clip.parameters()}
    added = [n for n, p in upgraded.named_parameters() if id(p) not in theirs]
    assert added
    assert all(name.startswith("sensors.towers.") for name in added)
    with torch.inference_mode():
        for name, x in X.items():
            assert_close(upgraded.encode(name, x), official.encode(name, x), atol=2e-5, rtol=1e-4)
    assert not difference(before, snapshot(clip))


def test_precision_and_choice_of_sensors():
    clip = toy_clip().to(torch.bfloat16)
    upgraded = bindplug.upgrade(clip, modalities={"audio"})
    assert upgraded.modalities == ("image", "video", "text", "audio")
    assert upgraded.encode_audio(X["audio"]).dtype == torch.bfloat16
    assert bindplug.upgrade(clip, dtype=torch.float32).encode_imu(X["imu"]).dtype == torch.float32


def test_the_sensors_of_a_model_are_shared(home):
    part = bindplug.load(home / NAME, modalities={"audio", "depth", "thermal"})
    assert "vision" not in part.towers
    for model in (random_imagebind(), part):
        upgraded = bindplug.upgrade(toy_clip(), model)
        assert upgraded.sensors.towers["depth"] is model.towers["depth"]
    with pytest.raises(SpaceMismatch, match="not there to compare with"):
        bindplug.upgrade(toy_clip(), ImageBind(CONFIG, ("audio",), space=SPACE))


def test_comparing_with_a_sensor_only_model_downloads_nothing(home, tmp_path, monkeypatch):
    model, clip = bindplug.load(home / NAME, modalities={"audio"}), toy_clip()
    same_shape = real.CLIP(**open_clip.get_model_config(NAME))
    monkeypatch.setenv("BINDPLUG_HOME", str(tmp_path))

    def fetch(card):
        raise AssertionError(f"{card.name} was downloaded")

    monkeypatch.setattr("bindplug_open_clip.adapter.fetch_weights", fetch)
    upgraded = bindplug.upgrade(clip, model)
    assert upgraded.sensors.towers["audio"] is model.towers["audio"]
    with pytest.raises(SpaceMismatch, match="holds other numbers"):
        bindplug.upgrade(same_shape, model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", [real.CLIP, real.CustomTextCLIP])
def test_weights_that_were_rounded_on_disk_are_the_same_weights(dtype, kind, home):
    rounded = toy_clip(kind).to(dtype).to(torch.float32)
    assert bindplug.upgrade(rounded, modalities={"audio"}).embedding_space.name == SPACE.name
    assert bindplug.upgrade(rounded, bindplug.load(home / NAME, modalities={"audio"})).modalities


def test_models_of_other_weights_or_devices_are_refused():
    uneven = random_imagebind(uneven_frames=True)
    with pytest.raises(SpaceMismatch, match="bindplug bridge fit"):
        bindplug.upgrade(other_clip(embed_dim=128), uneven)
    with pytest.raises(InputError, match="Move it"):
        bindplug.upgrade(toy_clip(), random_imagebind().to("meta"))
    with pytest.raises(SpaceMismatch, match="no ImageBind"):
        bindplug.upgrade(toy_clip(), bindplug.testing.FakeEncoder())


def test_a_clip_of_another_space_is_told_apart_by_its_weights():
    same_shape = real.CLIP(**open_clip.get_model_config(NAME))
    with pytest.raises(
        SpaceMismatch, match=r"text_projection holds other numbers.*bindplug bridge fit --source"
    ):
        bindplug.upgrade(same_shape)
    with pytest.raises(SpaceMismatch, match="width of embeddings is 64"):
        bindplug.upgrade(other_clip())
    tuned = toy_clip()
    with torch.no_grad():
        tuned.visual.transformer.resblocks[-1].mlp.c_proj.weight.mul_(1.01)
    with pytest.raises(SpaceMismatch, match="its blocks holds other numbers"):
        bindplug.upgrade(tuned)
    quick = real.CLIP(**open_clip.get_model_config(NAME), quick_gelu=True)
    quick.load_state_dict(toy_clip().state_dict())
    with pytest.raises(SpaceMismatch, match="QuickGELU"):
        bindplug.upgrade(quick)
    shallow = open_clip.get_model_config(NAME)
    shallow["vision_cfg"]["layers"] = 2
    with pytest.raises(SpaceMismatch, match="number of blocks in the image tower is 2"):
        bindplug.upgrade(real.CLIP(**shallow))


def test_a_clip_of_the_published_shape_asks_for_the_published_weights():
    with torch.device("meta"):
        vit_h = real.CLIP(**real.get_model_config("ViT-H-14"))
    with pytest.raises(WeightsNotFound, match=r"imagebind_huge\.pth"):
        bindplug.upgrade(vit_h)


def test_with_a_bridge_sensors_arrive_in_the_other_space():
    clip, bridge = other_clip(), Bridge()
    before = snapshot(clip)
    for upgraded in (
        bindplug.upgrade(clip, bridge=bridge),
        bindplug.upgrade(clip, random_imagebind(), bridge=bridge),
    ):
        assert isinstance(upgraded, BridgedClip)
        assert isinstance(upgraded, type(clip))
        assert upgraded.embedding_space == THERE
        with torch.inference_mode():
            expected = bridge(random_imagebind().encode_depth(X["depth"]))
            assert_close(upgraded.encode_depth(X["depth"]), expected)
            assert bridge.modality == "depth"
            assert torch.equal(upgraded.encode_image(X["image"]), clip.encode_image(X["image"]))
            assert upgraded.encode_video(X["video"]).shape == (2, 64)
        sound = audio(torch.sin(torch.arange(16000) / 5).numpy(), sample_rate=16000)
        rows = upgraded.embed([text("a dog") + sound, image(picture()), text("a dog")])
        assert_close(rows.norm(dim=1), torch.ones(3))
        assert_close(rows[2], clip.encode_text(real.tokenize("a dog"), normalize=True)[0].detach())
        assert upgraded.scale_of("audio") == pytest.approx(20, abs=1e-4)
        features, words, _ = upgraded(audio=X["audio"], text=TOKENS)
        assert features.shape == words.shape == (2, 64)
    assert not difference(before, snapshot(clip))


def test_a_bridge_that_leads_elsewhere_is_refused():
    with pytest.raises(SpaceMismatch, match="64-d"):
        bindplug.upgrade(toy_clip(), bridge=Bridge())
    wrong = Bridge()
    wrong.source = EmbeddingSpace("nowhere", 128)
    with pytest.raises(SpaceMismatch, match="no registered model has that space"):
        bindplug.upgrade(other_clip(), bridge=wrong)
    with pytest.raises(SpaceMismatch, match="nowhere"):
        bindplug.upgrade(other_clip(), random_imagebind(), bridge=wrong)
    with pytest.raises(InputError, match="Bridge"):
        bindplug.upgrade(other_clip(), bridge=3)


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda clip: torch.compile(clip, backend="eager")])
def test_a_wrapped_clip_is_recognized_and_its_wrapper_runs_forward(wrap):
    clip = toy_clip()
    wrapper = wrap(clip)
    calls = []
    wrapper.register_forward_hook(lambda *_: calls.append(1))
    upgraded = bindplug.upgrade(wrapper)
    assert upgraded.original is clip
    assert upgraded.wrapper is wrapper
    with torch.inference_mode():
        assert_close(
            upgraded.encode_audio(X["audio"]),
            random_imagebind().encode_audio(X["audio"]),
            atol=2e-5,
            rtol=1e-4,
        )
        assert not calls
        assert_close(upgraded(X["image"], TOKENS)[0], clip(X["image"], TOKENS)[0])
    assert calls == [1]
    assert set(clip.state_dict()) < set(upgraded.state_dict())
    if isinstance(wrapper, nn.DataParallel):
        assert upgraded.device_ids == wrapper.device_ids


def test_distributed_data_parallel_is_looked_through(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        clip = toy_clip()
        upgraded = bindplug.upgrade(nn.parallel.DistributedDataParallel(clip), modalities={"audio"})
        assert upgraded.original is clip
        assert_close(upgraded(X["image"], TOKENS)[0], clip(X["image"], TOKENS)[0])
    finally:
        torch.distributed.destroy_process_group()


def openai_clip():
    """OpenAI's class where its package imports, else a class of its name, attributes and call forms."""
    torch.manual_seed(5)
    try:
        from clip.model import CLIP
    except ImportError:
        CLIP = OpenAiShaped  # noqa: N806
    model = CLIP(
        embed_dim=64, image_resolution=32, vision_layers=1, vision_width=64, vision_patch_size=16,
        context_length=77, vocab_size=49408, transformer_width=64, transformer_heads=1, transformer_layers=1,
    )  # fmt: skip
    return model.eval()


class OpenAiShaped(nn.Module):
    """Attributes and call forms of OpenAI's CLIP; its towers are open_clip's."""

    def __init__(self, embed_dim, image_resolution, vision_layers, vision_width, vision_patch_size, context_length,
                 vocab_size, transformer_width, transformer_heads, transformer_layers):  # fmt: skip
        super().__init__()
        towers = real.CLIP(
            embed_dim,
            {
                "image_size": image_resolution, "layers": vision_layers, "width": vision_width,
                "patch_size": vision_patch_size,
            },
            {
                "context_length": context_length, "vocab_size": vocab_size, "width": transformer_width,
                "heads": transformer_heads, "layers": transformer_layers,
            },
            quick_gelu=True,
        )  # fmt: skip
        for name, child in towers.named_children():
            setattr(self, name, child)
        del self.visual.image_size
        self.visual.input_resolution = image_resolution
        self.text_projection, self.logit_scale = towers.text_projection, towers.logit_scale
        self.positional_embedding = towers.positional_embedding
        self.context_length, self.vocab_size = context_length, vocab_size
        self.__dict__["towers"] = towers

    def encode_image(self, image):
        return self.towers.encode_image(image)

    def encode_text(self, text):
        return self.towers.encode_text(text)

    def forward(self, image, text):
        rows, texts = (
            nn.functional.normalize(r, dim=1) for r in (self.encode_image(image), self.encode_text(text))
        )
        logits = self.logit_scale.exp() * rows @ texts.t()
        return logits, logits.t()


OpenAiShaped.__module__, OpenAiShaped.__qualname__, OpenAiShaped.__name__ = "clip.model", "CLIP", "CLIP"


def test_openais_clip_takes_queries_over_a_bridge():
    clip, bridge = openai_clip(), Bridge()
    with pytest.raises(SpaceMismatch, match="bindplug bridge fit"):
        bindplug.upgrade(clip)
    upgraded = bindplug.upgrade(clip, random_imagebind(), bridge=bridge)
    assert isinstance(upgraded, BridgedClip)
    assert isinstance(upgraded, type(clip))
    pixels = torch.randn(2, 3, 32, 32)
    sound = audio(torch.sin(torch.arange(16000) / 5).numpy(), sample_rate=16000)
    with torch.inference_mode():
        rows = upgraded.embed([sound, text("a dog"), image(picture())])
        assert_close(rows.norm(dim=1), torch.ones(3))
        assert_close(rows[1], nn.functional.normalize(clip.encode_text(real.tokenize("a dog")), dim=1)[0])
        assert torch.equal(upgraded.encode_image(pixels), clip.encode_image(pixels))
        assert_close(upgraded.encode_image(pixels, normalize=True).norm(dim=1), torch.ones(2))
        per_sound, per_text = upgraded(audio=X["audio"], text=TOKENS)
        assert_close(per_sound, clip.logit_scale.exp() * upgraded.encode_audio(X["audio"]) @
                     upgraded.encode_text(TOKENS, normalize=True).T)  # fmt: skip
        assert torch.equal(per_text, per_sound.T)
        assert torch.equal(upgraded(pixels, TOKENS)[0], clip(pixels, TOKENS)[0])
    assert upgraded.preprocess["image"](picture()).shape == (3, 32, 32)


def test_a_vocabulary_of_its_own_needs_its_tokenizer():
    config = open_clip.get_model_config(NAME)["text_cfg"] | {"vocab_size": 1000}
    clip = other_clip(text_cfg=config)
    upgraded = bindplug.upgrade(clip, bridge=Bridge())
    with pytest.raises(InputError, match="get_tokenizer"):
        upgraded.embed([text("a dog")])

    def tokenizer(texts):
        return torch.full((len(texts), 77), 7)

    assert bindplug.upgrade(clip, bridge=Bridge(), tokenizer=tokenizer).embed([text("a dog")]).shape == (
        1,
        64,
    )


@pytest.mark.parametrize("bridge", [None, Bridge()])
def test_wrappers_survive_what_modules_survive(bridge):
    clip = toy_clip() if bridge is None else other_clip()
    upgraded = bindplug.upgrade(clip, bridge=bridge)
    upgraded.embed([text("a dog")])
    state = upgraded.state_dict()
    assert set(clip.state_dict()) < set(state)
    upgraded.load_state_dict(state)
    nn.DataParallel(upgraded).load_state_dict(nn.DataParallel(upgraded).state_dict())
    with torch.inference_mode():
        expected = upgraded.encode_audio(X["audio"])
        for copied in (
            copy.deepcopy(upgraded),
            pickle.loads(pickle.dumps(upgraded)),
            nn.DataParallel(upgraded),
        ):
            rows = (copied.module if isinstance(copied, nn.DataParallel) else copied).encode_audio(X["audio"])
            assert_close(rows, expected, atol=1e-5, rtol=1e-4)
            assert_close(copied(X["image"], TOKENS)[0], clip(X["image"], TOKENS)[0], atol=1e-5, rtol=1e-4)
    assert upgraded.context_length == 77
    assert not upgraded.eval().training


def test_a_model_that_takes_queries_already_needs_no_upgrade(model):
    for target in (model, bindplug.upgrade(toy_clip()), nn.DataParallel(model)):
        with pytest.raises(UnsupportedTarget, match="takes queries already"):
            bindplug.upgrade(target)
    assert [plugin.status for plugin in list_plugins() if plugin.name == "open_clip"] == ["ready"]


def test_memory_added_is_that_of_the_sensors():
    """Bytes of storage that the wrapper holds and the original does not, against those of a second model."""

    def storages(module):
        tensors = [*module.parameters(), *module.buffers()]
        return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}

    clip = toy_clip()
    before = storages(clip)
    after = storages(bindplug.upgrade(clip))
    second = random_imagebind()
    added = sum(size for pointer, size in after.items() if pointer not in before)
    sensors = sum(
        p.nbytes for n, t in second.towers.items() if n not in ("vision", "text") for p in t.parameters()
    )
    assert sensors <= added < 1.01 * sensors
    assert added < 0.2 * sum(storages(second).values())
