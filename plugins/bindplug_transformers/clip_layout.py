"""A transformers CLIPModel's tensors under ImageBind's official names, for comparing the two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

PLAIN = {
    "modality_heads.text.proj.1.weight": "text_projection.weight",
    "modality_heads.vision.2.weight": "visual_projection.weight",
    "modality_heads.text.proj.0.weight": "text_model.final_layer_norm.weight",
    "modality_heads.vision.0.weight": "vision_model.post_layernorm.weight",
    "modality_preprocessors.text.pos_embed": "text_model.embeddings.position_embedding.weight",
    "modality_preprocessors.vision.cls_token": "vision_model.embeddings.class_embedding",
    "modality_preprocessors.vision.rgbt_stem.proj.1.weight": "vision_model.embeddings.patch_embedding.weight",
}
"""Official names -> names in a CLIPModel, of what has the same numbers in both."""

TRUNKS = {"vision": "vision_model", "text": "text_model"}


class OfficialView(Mapping[str, Tensor]):
    """Official names -> tensors of a CLIPModel; what the official layout joins is joined when it is read.

    Args:
        clip: a transformers CLIPModel.
    """

    def __init__(self, clip: Any) -> None:
        state: dict[str, Tensor] = clip.state_dict()
        self._makers: dict[str, Callable[[], Tensor]] = {
            official: _reader(state, [name]) for official, name in PLAIN.items() if name in state
        }
        for tower, part in TRUNKS.items():
            count = getattr(clip.config, f"{tower}_config").num_hidden_layers
            for index in range(count):
                layer = f"{part}.encoder.layers.{index}"
                block = f"modality_trunks.{tower}.blocks.{index}"
                projections = [f"{layer}.self_attn.{name}_proj.weight" for name in "qkv"]
                self._makers[f"{block}.attn.in_proj_weight"] = _reader(state, projections)
                self._makers[f"{block}.mlp.fc2.weight"] = _reader(state, [f"{layer}.mlp.fc2.weight"])

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
