"""A directory that transformers' own CLIPModel and CLIPProcessor load, holding imagebind_tiny's image and text towers.

It stands for the CLIP of an existing project on a machine without one. Nothing of bindplug is needed to open it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import open_clip
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

import bindplug
from bindplug.imagebind import to_open_clip
from bindplug_transformers import ImageBindConfig

NAMES = (
    (r"^visual\.proj$", "visual_projection.weight"),
    (r"^text_projection$", "text_projection.weight"),
    (r"^(visual\.)?transformer\.resblocks", r"\1encoder.layers"),
    (r"^visual\.conv1", "visual.embeddings.patch_embedding"),
    (r"^visual\.class_embedding", "visual.embeddings.class_embedding"),
    (r"^visual\.positional_embedding", "visual.embeddings.position_embedding.weight"),
    (r"^positional_embedding", "embeddings.position_embedding.weight"),
    (r"^token_embedding", "embeddings.token_embedding"),
    (r"^visual\.ln_pre", "visual.pre_layrnorm"),  # as transformers spells it
    (r"^visual\.ln_post", "visual.post_layernorm"),
    (r"^ln_final", "final_layer_norm"),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"\.attn\.", ".self_attn."),
    (r"^visual\.", "vision_model."),
    (r"^(?=(embeddings|encoder|final_layer_norm))", "text_model."),
)
"""From open_clip's names of tensors to transformers', applied in order."""


def write_clip(directory: Path) -> Path:
    """Model, tokenizer and image processor, as ``save_pretrained`` writes them."""
    encoder = bindplug.load("imagebind_tiny", modalities={"image", "text"})
    shape = ImageBindConfig.from_bindplug(encoder)
    described = {"text_config": shape.text_config.to_dict(), "vision_config": shape.vision_config.to_dict()}
    clip = CLIPModel(CLIPConfig(**described, projection_dim=shape.projection_dim))
    state = {}
    for name, tensor in to_open_clip(encoder.official_state_dict()).items():
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        if "in_proj_" in name:
            for part, third in zip("qkv", tensor.chunk(3), strict=True):
                state[name.replace("in_proj_", f"{part}_proj.")] = third.contiguous()
        else:
            state[name] = (
                tensor.T.contiguous() if name.endswith("_projection.weight") else tensor.contiguous()
            )
    clip.load_state_dict(state)
    clip.save_pretrained(directory)
    CLIPProcessor(CLIPImageProcessor(), _tokenizer(directory)).save_pretrained(directory)
    return directory


def _tokenizer(directory: Path) -> CLIPTokenizer:
    """transformers' tokenizer with CLIP's vocabulary, which open_clip brings along."""
    words = open_clip.SimpleTokenizer()
    renamed = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {renamed.get(word, word): number for word, number in words.encoder.items()}
    (directory / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    merges = "\n".join(" ".join(pair) for pair in words.bpe_ranks)
    (directory / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    return CLIPTokenizer.from_pretrained(directory, model_max_length=77)
