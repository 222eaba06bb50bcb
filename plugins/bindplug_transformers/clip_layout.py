"""A transformers CLIPModel's tensors under ImageBind's official names, for comparing the two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from bindplug.fingerprint import Fingerprint
from bindplug.imagebind import difference, fingerprint_of

PLAIN = {
    "modality_heads.text.proj.1.weight": "text_projection.weight",
    "modality_heads.vision.2.weight": "visual_projection.weight",
    "modality_heads.text.proj.0.weight": "text_model.final_layer_norm.weight",
    "modality_heads.text.proj.0.bias": "text_model.final_layer_norm.bias",
    "modality_heads.vision.0.weight": "vision_model.post_layernorm.weight",
    "modality_heads.vision.0.bias": "vision_model.post_layernorm.bias",
    "modality_preprocessors.text.pos_embed": "text_model.embeddings.position_embedding.weight",
    "modality_preprocessors.text.token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "modality_preprocessors.vision.cls_token": "vision_model.embeddings.class_embedding",
    "modality_preprocessors.vision.pos_embedding_helper.pos_embed": (
        "vision_model.embeddings.position_embedding.weight"
    ),
    "modality_preprocessors.vision.rgbt_stem.proj.1.weight": "vision_model.embeddings.patch_embedding.weight",
    "modality_trunks.vision.pre_transformer_layer.0.weight": "vision_model.pre_layrnorm.weight",
    "modality_trunks.vision.pre_transformer_layer.0.bias": "vision_model.pre_layrnorm.bias",
}
"""Official names -> names in a CLIPModel, of what has the same numbers in both."""

LAYER_PARTS = {
    "attn.out_proj": "self_attn.out_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "norm_1": "layer_norm1",
    "norm_2": "layer_norm2",
}
"""Parts of a block -> parts of a layer of CLIPModel."""

TRUNKS = {"vision": "vision_model", "text": "text_model"}

NOT_IN_TOWERS = ("logit_scale", "sensors")
"""Tensors and modules of a CLIPModel that are in neither tower."""


def difference_from(clip: Any, fingerprint: Fingerprint | None) -> str:
    """What tells a CLIPModel apart from the towers of a fingerprint; empty if nothing does.

    Args:
        clip: a transformers CLIPModel.
        fingerprint: of the ImageBind; None if it is not known.
    """
    view = OfficialView(clip)
    result = difference(view, fingerprint, quick_gelu=quick_gelu(clip))
    if result is not None:
        return str(result)
    if view.other_weights:
        return f"it has weights that ImageBind's towers lack, as {view.other_weights[0]}"
    return ""


def clip_fingerprint(clip: Any) -> Fingerprint | None:
    """The fingerprint of a CLIPModel's image and text towers; None where ImageBind's have other tensors."""
    view = OfficialView(clip)
    return None if view.other_weights else fingerprint_of(view)


class OfficialView(Mapping[str, Tensor]):
    """Official names -> tensors of a CLIPModel; what the official layout joins is joined when it is read.

    Args:
        clip: a transformers CLIPModel.

    Attributes:
        other_weights: names of tensors that ImageBind's towers lack, as of adapters.
    """

    def __init__(self, clip: Any) -> None:
        state: dict[str, Tensor] = clip.state_dict()
        self._makers: dict[str, Callable[[], Tensor]] = {
            official: _reader(state, [name]) for official, name in PLAIN.items() if name in state
        }
        used = set(PLAIN.values())
        for tower, part in TRUNKS.items():
            count = getattr(clip.config, f"{tower}_config").num_hidden_layers
            for index in range(count):
                layer = f"{part}.encoder.layers.{index}"
                block = f"modality_trunks.{tower}.blocks.{index}"
                for kind in ("weight", "bias"):
                    sources = {f"attn.in_proj_{kind}": [f"self_attn.{name}_proj.{kind}" for name in "qkv"]}
                    sources |= {f"{ours}.{kind}": [f"{own}.{kind}"] for ours, own in LAYER_PARTS.items()}
                    for ours, own in sources.items():
                        names = [f"{layer}.{name}" for name in own]
                        if all(name in state for name in names):
                            self._makers[f"{block}.{ours}"] = _reader(state, names)
                            used.update(names)
        others = (name for name, t in state.items() if name not in used and t.is_floating_point())
        self.other_weights = tuple(name for name in others if name.split(".")[0] not in NOT_IN_TOWERS)

    def __getitem__(self, name: str) -> Tensor:
        return self._makers[name]()

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def quick_gelu(clip: Any) -> bool:
    """Whether a tower computes with another activation than ImageBind's exact GELU."""
    return any(getattr(clip.config, f"{tower}_config").hidden_act != "gelu" for tower in TRUNKS)


def _reader(state: Mapping[str, Tensor], names: list[str]) -> Callable[[], Tensor]:
    # 3 x (D, D) -> (3 D, D)
    return lambda: state[names[0]] if len(names) == 1 else torch.cat([state[name] for name in names])
