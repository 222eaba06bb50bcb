"""Scripts as users have them, run twice: with open_clip, and with only the import changed. The numbers agree."""

from __future__ import annotations

import json

import open_clip as real
import pytest
import torch
from torch.testing import assert_close

import bindplug_open_clip
from bindplug.imagebind import to_open_clip
from tests.open_clip.conftest import NAME, picture, random_imagebind

HEAD = """
import torch
import torch.nn.functional as F
import open_clip

torch.manual_seed(0)
model, preprocess_train, preprocess = open_clip.create_model_and_transforms(MODEL, pretrained=PRETRAINED)
model.eval()
tokenizer = open_clip.get_tokenizer(MODEL)
images = torch.stack([preprocess(p) for p in PICTURES])
"""

SCRIPTS = {
    "zero_shot_notebook": """
text = tokenizer(["a diagram", "a dog", "a cat"])
with torch.no_grad(), torch.autocast("cpu", enabled=False):
    image_features = model.encode_image(images)
    text_features = model.encode_text(text)
    image_features /= image_features.norm(dim=-1, keepdim=True)
    text_features /= text_features.norm(dim=-1, keepdim=True)
    result = (100.0 * image_features @ text_features.T).softmax(dim=-1)
""",
    "zero_shot_classifier": """
from functools import partial
build = partial(open_clip.build_zero_shot_classifier, model, tokenizer=tokenizer, device="cpu")
weights = build(classnames=["dog", "cat", "car"], templates=open_clip.SIMPLE_IMAGENET_TEMPLATES,
                num_classes_per_batch=2, use_tqdm=False)
with torch.no_grad():
    result = 100.0 * model.encode_image(images, normalize=True) @ weights
""",
    "retrieval_loop": """
index = []
with torch.no_grad():
    for image in images:
        image_features, _, logit_scale = model(image.unsqueeze(0), None)
        index.append(image_features)
    index = torch.cat(index)
    _, queries, logit_scale = model(text=tokenizer(["red", "green thing"]))
    result = logit_scale * queries @ index.T
""",
    "linear_probe": """
with torch.no_grad():
    features = model.encode_image(images).float()
labels = torch.arange(len(features)) % 2
torch.manual_seed(1)
probe = torch.nn.Linear(features.shape[1], 2)
optimizer = torch.optim.SGD(probe.parameters(), lr=0.05)
for _ in range(20):
    loss = F.cross_entropy(probe(features), labels)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
result = probe(features).detach()
""",
    "clip_guidance": """
pixels = images[:1].clone().requires_grad_()
optimizer = torch.optim.Adam([pixels], lr=0.02)
target = model.encode_text(tokenizer("a photo of a dog")).detach()
for _ in range(3):
    loss = 1 - F.cosine_similarity(model.encode_image(pixels), target).mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
result = torch.stack([loss.detach(), pixels.grad.norm()])
""",
    "fine_tuning_step": """
model.train()
model.lock_image_tower(unlocked_groups=1)
model.set_grad_checkpointing(True)
loss_fn = open_clip.ClipLoss()
optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
loss = loss_fn(*model(images, tokenizer(["a dog", "a cat", "a car"])))
loss.backward(); optimizer.step()
result = torch.stack([loss.detach(), model.visual.proj.detach().sum(), model.logit_scale.detach()])
""",
    "autocast_loop": """
with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
    result = torch.cat([model.encode_image(i[None], normalize=True).float() for i in images])
""",
    "parallel_and_copies": """
import copy, io, pickle
copied = pickle.loads(pickle.dumps(copy.deepcopy(model)))
buffer = io.BytesIO(); torch.save(copied.state_dict(), buffer); buffer.seek(0)
copied.load_state_dict(torch.load(buffer, weights_only=True))
with torch.no_grad():
    result = torch.nn.DataParallel(copied)(images, tokenizer(["a", "b", "c"]))[0]
""",
    "attributes": """
visual = model.visual
size = visual.image_size if isinstance(visual.image_size, int) else visual.image_size[0]
result = torch.tensor([size, model.context_length, visual.output_dim, *visual.image_mean, model.logit_scale.item(),
                       len(model.transformer.resblocks), *model.token_embedding.weight.shape,
                       *preprocess.transforms[-1].mean])
""",
    "intermediates": """
with torch.no_grad():
    out = model.forward_intermediates(images, tokenizer(["a", "b"]), image_indices=1, output_logits=True)
result = torch.cat([out["image_intermediates"][0].flatten(), out["image_logits"].flatten()])
""",
}  # fmt: skip

COMPILED = """
compiled = torch.compile(model, backend="eager")
encode = torch.compile(model.encode_image, backend="eager")
with torch.no_grad():
    result = torch.cat([compiled(images, tokenizer(["a", "b", "c"]))[1], encode(images)])
"""


@pytest.fixture
def real_model(tmp_path, monkeypatch):
    """Name and weights file of the same towers in the real open_clip."""
    (tmp_path / "toy-vit.json").write_text(json.dumps(bindplug_open_clip.get_model_config(NAME)))
    monkeypatch.setattr(real.factory, "_MODEL_CONFIGS", dict(real.factory._MODEL_CONFIGS))
    monkeypatch.setattr(real.factory, "_MODEL_CONFIG_PATHS", list(real.factory._MODEL_CONFIG_PATHS))
    real.add_model_config(tmp_path / "toy-vit.json")
    torch.save(to_open_clip(random_imagebind().official_state_dict()), tmp_path / "weights.pt")
    return "toy-vit", str(tmp_path / "weights.pt")


def run(script: str, model: str, pretrained: str) -> torch.Tensor:
    space = {"MODEL": model, "PRETRAINED": pretrained, "PICTURES": [picture(seed=seed) for seed in range(3)]}
    exec(compile(script, "<script>", "exec"), space)
    return space["result"]


def both(script: str, real_model: tuple[str, str]) -> tuple[torch.Tensor, torch.Tensor]:
    theirs = run(HEAD + script, *real_model)
    changed = HEAD.replace("import open_clip\n", "import bindplug_open_clip as open_clip\n")
    assert changed != HEAD
    return run(changed + script, NAME, "bindplug"), theirs


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gives_the_same_numbers_with_the_import_changed(name, real_model):
    if name == "intermediates" and not hasattr(real.CLIP, "forward_intermediates"):
        pytest.skip("this open_clip has no forward_intermediates")
    ours, theirs = both(SCRIPTS[name], real_model)
    assert ours.isfinite().all()
    assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_compiled_loop_gives_the_same_numbers(real_model):
    assert_close(*both(COMPILED, real_model), atol=1e-5, rtol=1e-5)
