"""Image encoders: their rows, how each method learns, and the cache."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from bindplug.errors import CheckpointError, InputError
from bindplug_lab.encoders import METHODS, RECIPES, SIZES, ImageEncoder, train_image_encoder, training
from bindplug_lab.encoders.augment import ViewRecipe, random_views
from bindplug_lab.encoders.network import normalize, resize
from bindplug_lab.encoders.objectives import DinoObjective, objective_of
from bindplug_lab.encoders.pictures import training_pictures
from bindplug_lab.encoders.state import TrainingState


def short(method):
    return replace(RECIPES[method], scenes=40, steps=3, batch_size=16, warmup_steps=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("encoders")


@pytest.fixture(scope="module")
def pictures(cache):
    return training_pictures(cache / "worlds", 40, quiet=True)


@pytest.fixture(scope="module")
def trained(cache):
    return {
        method: train_image_encoder(method, "small", cache, recipe=short(method), quiet=True)
        for method in RECIPES
    }


@pytest.mark.parametrize("size", SIZES)
def test_rows_are_unit_rows_of_the_size(size):
    pixels = torch.randint(0, 256, (3, 3, 96, 96), dtype=torch.uint8)
    rows = ImageEncoder("random", size).embed(pixels)
    assert rows.shape == (3, SIZES[size].width)
    assert torch.allclose(rows.norm(dim=-1), torch.ones(3), atol=1e-5)
    assert ImageEncoder("random", size).embed(pixels[:0]).shape == (0, SIZES[size].width)


def test_encoders_of_one_size_have_equal_image_towers():
    counts = {
        method: sum(p.numel() for p in ImageEncoder(method, "base").visual.parameters()) for method in METHODS
    }
    assert len(set(counts.values())) == 1


def test_a_larger_picture_is_reduced_with_antialiasing():
    # columns of black and white are gray at half the size
    stripes = torch.tensor([0, 255] * 64, dtype=torch.uint8).expand(1, 3, 128, 128).contiguous()
    assert (resize(stripes)[..., 2:-2] - 127.5).abs().max() < 2


@pytest.mark.parametrize(
    "pixels",
    [torch.zeros(2, 3, 64, 64), torch.zeros(3, 64, 64, dtype=torch.uint8)],
    ids=["float", "no batch"],
)
def test_pixels_of_another_kind_are_refused(pixels):
    with pytest.raises(InputError, match=r"expected \(B, 3, H, W\) uint8"):
        ImageEncoder("random", "small").embed(pixels)


@pytest.mark.parametrize(("arguments", "message"), [(("mae", "base"), "method"), (("clip", "huge"), "size")])
def test_unknown_methods_and_sizes_are_named(arguments, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train_image_encoder(*arguments, tmp_path)


def test_the_seed_decides_the_weights(cache, trained, pictures):
    rows = {
        seed: train_image_encoder("random", "small", cache, seed).embed(pictures.pixels) for seed in (0, 0, 1)
    }
    assert not torch.allclose(rows[0], rows[1])
    again = ImageEncoder("supervised", "small", 0)
    training.train(again, pictures, short("supervised"), quiet=True)
    assert torch.equal(again.eval().embed(pictures.pixels), trained["supervised"].embed(pictures.pixels))


def test_training_changes_the_image_tower_and_freezes_it(trained):
    for method, encoder in trained.items():
        start = ImageEncoder(method, "small", 0)
        assert not torch.equal(encoder.visual.stem.proj.weight, start.visual.stem.proj.weight), method
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        assert not encoder.training


@pytest.mark.parametrize("method", RECIPES)
def test_a_training_that_was_cut_short_goes_on_to_the_same_weights(
    method, cache, trained, pictures, tmp_path, monkeypatch
):
    (tmp_path / "worlds").symlink_to(cache / "worlds")
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 1)
    take_step, steps = training._step, []

    def fail_at_third(state, *arguments):
        if state.step == 2 and len(steps) == 2:
            raise KeyboardInterrupt
        steps.append(state.step)
        return take_step(state, *arguments)

    monkeypatch.setattr(training, "_step", fail_at_third)
    with pytest.raises(KeyboardInterrupt):
        train_image_encoder(method, "small", tmp_path, recipe=short(method), quiet=True)
    monkeypatch.setattr(
        training, "_step", lambda state, *rest: (steps.append(state.step), take_step(state, *rest))[1]
    )
    encoder = train_image_encoder(method, "small", tmp_path, recipe=short(method), quiet=True)
    assert steps == [0, 1, 2]
    assert torch.equal(encoder.embed(pictures.pixels), trained[method].embed(pictures.pixels))
    directories = [next(root.glob(f"{method}-small-0-*")) for root in (tmp_path, cache)]
    losses = [json.loads((path / "training.json").read_text())["losses"] for path in directories]
    assert losses[0] == losses[1]
    assert not list(tmp_path.glob("*.checkpoint"))


@pytest.mark.parametrize("change", ["damaged", "of another recipe"])
def test_a_state_that_cannot_be_continued_is_reported(change, pictures, tmp_path):
    recipe = short("supervised")
    file = tmp_path / "state"
    if change == "damaged":
        file.write_bytes(b"not a state")
    else:
        TrainingState(ImageEncoder("supervised", "small"), replace(recipe, steps=9), len(pictures)).write(
            file
        )
    with pytest.raises(CheckpointError, match="Delete it to begin again"):
        training.train(ImageEncoder("supervised", "small"), pictures, recipe, checkpoint=file, quiet=True)


def test_fresh_encoders_tell_pictures_apart(pictures):
    """Blocks that shrink what they are given leave the class token nearly the same for every picture."""
    spread = {
        narrow: ImageEncoder("random", "base", narrow=narrow).eval().embed(pictures.pixels).std(0).norm()
        for narrow in (False, True)
    }
    assert spread[True] > 2 * spread[False]


def test_only_clip_reads_text(trained):
    rows = trained["clip"].embed_text(["a dog", "a red train"])
    assert rows.shape == (2, SIZES["small"].width)
    with pytest.raises(InputError, match="no text tower"):
        trained["dino"].embed_text(["a dog"])


def test_a_cached_encoder_is_read_and_not_trained(cache, trained, pictures, monkeypatch):
    monkeypatch.setattr(training, "train", None)
    again = train_image_encoder("clip", "small", cache, recipe=short("clip"), quiet=True)
    assert torch.equal(again.embed(pictures.pixels), trained["clip"].embed(pictures.pixels))
    assert torch.equal(again.embed_text(["a cow"]), trained["clip"].embed_text(["a cow"]))


def test_the_log_is_kept_with_the_weights(cache, trained):
    path = next(cache.glob("dino-small-0-*"))
    assert json.loads((path / "card.json").read_text())["recipe"]["steps"] == 3
    assert len(json.loads((path / "training.json").read_text())["losses"]) == 1


def test_damaged_weights_are_reported(tmp_path, trained, cache):
    path = next(cache.glob("supervised-small-0-*"))
    (tmp_path / path.name).mkdir()
    (tmp_path / path.name / "card.json").write_bytes((path / "card.json").read_bytes())
    (tmp_path / path.name / "encoder.safetensors").write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="Delete"):
        train_image_encoder("supervised", "small", tmp_path, recipe=short("supervised"), quiet=True)


def test_fewer_pictures_than_a_batch_are_refused(pictures):
    with pytest.raises(InputError, match="at least one batch of 64"):
        training.train(ImageEncoder("dino", "small"), pictures, replace(short("dino"), batch_size=64))


# -- views ----------------------------------------------------------------------------------------------------------


def test_a_view_of_everything_is_the_picture(pictures):
    plain = ViewRecipe(64, (1.0, 1.0), flip=0.0, color=0.0)
    generator = torch.Generator().manual_seed(0)
    square = torch.cat([random_views(pictures.pixels[:8], plain, generator)])
    # the aspect of a crop varies, so that only its middle is certain
    assert (square[..., 30:34, 30:34] - pictures.pixels[:8, :, 30:34, 30:34]).abs().mean() < 25
    mirrored = random_views(pictures.pixels[:8], replace(plain, flip=1.0), torch.Generator().manual_seed(0))
    assert torch.allclose(mirrored, square.flip(-1), atol=1e-2)


def test_gray_views_have_no_color(pictures):
    views = random_views(
        pictures.pixels[:8], ViewRecipe(32, (0.5, 1.0), gray=1.0), torch.Generator().manual_seed(1)
    )
    assert views.shape == (8, 3, 32, 32)
    assert torch.allclose(views[:, 0], views[:, 2], atol=1e-3)
    assert views.min() >= 0
    assert views.max() <= 255


def test_turned_hues_keep_brightness():
    gray = torch.full((4, 3, 64, 64), 90, dtype=torch.uint8)
    red = gray.clone()
    red[:, 0] = 120
    recipe = ViewRecipe(32, (1.0, 1.0), color=1e-9, hue=1.0)
    views = random_views(torch.cat([gray, red]), recipe, torch.Generator().manual_seed(0))
    assert torch.allclose(views[:4], torch.full_like(views[:4], 90), atol=0.5)
    brightness = torch.tensor([0.299, 0.587, 0.114])
    assert torch.allclose(views[4:].mean((2, 3)) @ brightness, torch.full((4,), 90 + 30 * 0.299), atol=0.5)
    assert (views[4:, 0].mean((1, 2)) < 115).any()


def test_solarized_views_have_no_light_half(pictures):
    recipe = ViewRecipe(32, (1.0, 1.0), color=0.0, solarize=1.0)
    views = random_views(pictures.pixels[:8], recipe, torch.Generator().manual_seed(0))
    assert views.max() <= 128


# -- DINO -----------------------------------------------------------------------------------------------------------


def test_the_teacher_follows_the_student_slowly():
    objective = DinoObjective(ImageEncoder("dino", "small"))
    before = [p.clone() for p in objective.teacher.parameters()]
    with torch.no_grad():
        for _, parameter in objective.trained_parameters():
            parameter.add_(1.0)
    objective.after_step(0.0)
    for old, new in zip(before, objective.teacher.parameters(), strict=True):
        assert torch.allclose(new, old + 0.01, atol=1e-5)
    objective.after_step(1.0)  # at the end the teacher stands still
    for old, new in zip(before, objective.teacher.parameters(), strict=True):
        assert torch.allclose(new, old + 0.01, atol=1e-5)


def test_dino_compares_each_crop_with_the_other_large_one(pictures, monkeypatch):
    """The loss of stand-in networks whose answers are known equals the sum written out."""
    objective = DinoObjective(ImageEncoder("dino", "small"))
    objective.small_crops = 1
    answers = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(2))  # (crops, B, prototypes)

    class Student(torch.nn.Module):
        def forward(self, images):
            return torch.cat([*answers[:2]]) if images.shape[-1] == 48 else answers[2]

    teacher = torch.nn.ModuleList([Student(), torch.nn.Identity()])
    objective.encoder, objective.head, objective.teacher = Student(), torch.nn.Identity(), teacher
    objective.center = torch.zeros(1, 5)
    loss = objective.loss(pictures, torch.arange(4), torch.Generator().manual_seed(0), progress=1.0)
    targets = (answers[:2] / 0.04).softmax(-1)
    pairs = [(0, 1), (0, 2), (1, 0), (1, 2)]
    by_hand = [
        sum(-(targets[t, row] * F.log_softmax(answers[s, row] / 0.1, -1)).sum() for row in range(4)) / 4
        for t, s in pairs
    ]
    assert torch.isclose(loss, sum(by_hand) / 4, atol=1e-5)
    # a tenth of the mean answer goes into the center
    assert torch.allclose(objective.center, 0.1 * answers[:2].mean((0, 1)), atol=1e-6)


def test_the_objective_is_that_of_the_method(pictures):
    for method in RECIPES:
        objective = objective_of(ImageEncoder(method, "small"), classes=20)
        loss = objective.loss(pictures, torch.arange(16), torch.Generator().manual_seed(0), 0.0)
        loss.backward()
        encoder = objective.encoder
        assert encoder.visual.stem.proj.weight.grad is not None
        assert (method == "clip") == (encoder.log_scale.grad is not None)


def test_normalized_pictures_are_those_of_the_readers(pictures):
    from PIL import Image

    from bindplug.inputs import make_preprocess

    picture = Image.fromarray(pictures.pixels[0].permute(1, 2, 0).numpy())
    expected = make_preprocess(("image",), image_size=64)["image"](picture)
    assert torch.allclose(normalize(pictures.pixels[:1].float())[0], expected, atol=1e-4)
