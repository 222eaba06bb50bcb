"""An existing open_clip project, before and after: one line more, equal numbers, and it hears.

    model, _, preprocess = open_clip.create_model_and_transforms(...)
  + model = bindplug.upgrade(model)

python examples/open_clip_before_after.py
python examples/open_clip_before_after.py --model ViT-H-14 --pretrained laion2b_s32b_b79k

Offline, open_clip's own CLIP class holds imagebind_tiny's image and text towers, which the line more knows by weight.
"""

import argparse
from typing import Any

import open_clip
import torch

import bindplug
import bindplug_open_clip
from bindplug.imagebind import to_open_clip
from bindplug_toyworld import Scene

LABELS = ["a train", "a frog", "a boat", "a campfire"]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", help="one of open_clip's names; without, the toy CLIP")
parser.add_argument("--pretrained", help="a tag or file of its weights")
options = parser.parse_args()


def zero_shot(model: Any, preprocess: Any, tokenizer: Any, picture: Any) -> torch.Tensor:
    """The project's own code, which stays as it is."""
    with torch.no_grad():
        image_features = model.encode_image(preprocess(picture).unsqueeze(0), normalize=True)
        text_features = model.encode_text(tokenizer(LABELS), normalize=True)
        return (model.logit_scale.exp() * image_features @ text_features.T).softmax(dim=-1)[0]


if options.model:
    before, _, preprocess = open_clip.create_model_and_transforms(options.model, options.pretrained)
else:
    before = open_clip.CLIP(**bindplug_open_clip.get_model_config("imagebind_tiny"))
    before.load_state_dict(to_open_clip(bindplug.load("imagebind_tiny").official_state_dict()))
    preprocess = open_clip.image_transform(224, is_train=False)
tokenizer = open_clip.get_tokenizer(options.model or "ViT-B-32")
before.eval()

after = bindplug.upgrade(before)  # the line more

scene = Scene(760, "eval", labels=["train", "boat"])
was, now = (zero_shot(model, preprocess, tokenizer, scene.image) for model in (before, after))
with torch.no_grad():
    sound = after.preprocess["audio"](scene.audio, sample_rate=scene.sample_rate_hz)[None]
    words = after.encode_text(tokenizer(LABELS), normalize=True)
    cosines = after.encode_audio(sound, normalize=True) @ words.T
    heard = (after.scale_of("audio") * cosines).softmax(dim=-1)[0]
print(f"{'':16}" + "".join(f"{label:>12}" for label in LABELS))
for name, row in {"image, before": was, "image, after": now, "sound, after": heard}.items():
    print(f"{name:16}" + "".join(f"{p:12.4f}" for p in row.tolist()))
print("equal:", torch.equal(was, now))
