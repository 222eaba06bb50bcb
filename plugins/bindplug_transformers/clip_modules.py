"""The image and text towers as CLIPModel's ``vision_model`` and ``text_model``.

The modules hold the towers' own parameters, so freezing, hooks and optimizers act on the model. They are made at each
access and belong to no state dict.
"""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from bindplug.imagebind import PatchTower, TextTower
from bindplug_transformers.hidden_states import FullPass

NAMES = ("logit_scale", "vision_model", "text_model", "visual_projection", "text_projection")
"""Attributes of CLIPModel that ImageBindModel has too."""


class View(nn.Module):
    """A module made at access, of modules that belong to a tower.

    The model runs the tower and not the view, so hooks on the view itself are not the model's, of which a warning
    tells. Those on the modules within are.
    """

    def register_forward_hook(self, *args: Any, **kwargs: Any) -> Any:
        """torch's, with a warning."""
        self._warn()
        return super().register_forward_hook(*args, **kwargs)

    def register_forward_pre_hook(self, *args: Any, **kwargs: Any) -> Any:
        """torch's, with a warning."""
        self._warn()
        return super().register_forward_pre_hook(*args, **kwargs)

    def register_full_backward_hook(self, *args: Any, **kwargs: Any) -> Any:
        """torch's, with a warning."""
        self._warn()
        return super().register_full_backward_hook(*args, **kwargs)

    def _warn(self) -> None:
        warnings.warn(
            f"the model does not call this {type(self).__name__}, so this hook runs only where you call it yourself. "
            f"Register it on a block (vision_model.encoder.layers[k]), a projection, or the tower "
            f"(model.network.towers['vision']), or read hidden states with output_hidden_states=True",
            stacklevel=3,
        )


class VisionEmbeddings(View):
    """What makes tokens of an image."""

    def __init__(self, tower: PatchTower) -> None:
        super().__init__()
        self.patch_embedding = tower.stem.proj
        self.class_embedding = tower.cls_token
        self.position_embedding = tower.pos_embed


class TextEmbeddings(View):
    """What makes tokens of a text."""

    def __init__(self, tower: TextTower) -> None:
        super().__init__()
        self.token_embedding = tower.token_embedding
        self.position_embedding = tower.pos_embed


class Encoder(View):
    """A tower's blocks."""

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers


class ClipTower(View):
    """A tower without its projection, called as CLIP's.

    Args:
        model: the model whose tower it is.
        config: the tower's config in CLIP's words.
    """

    def __init__(self, model: nn.Module, config: Any) -> None:
        super().__init__()
        # In a list, which modules do not look into: the model's other parameters are not this tower's.
        self._models: list[Any] = [model]
        self.config = config

    def _output(
        self,
        full: FullPass,
        output_attentions: bool | None,
        output_hidden_states: bool | None,
        return_dict: bool | None,
    ) -> Any:
        output = BaseModelOutputWithPooling(
            last_hidden_state=full.last,
            pooler_output=full.pooled,
            hidden_states=full.states if output_hidden_states else None,
            attentions=full.attentions if output_attentions else None,
        )
        return output.to_tuple() if return_dict is False else output


class ClipVisionTower(ClipTower):
    """The image tower: ``vision_model(pixel_values).pooler_output`` goes into ``visual_projection``."""

    def __init__(self, model: nn.Module, config: Any, tower: PatchTower) -> None:
        super().__init__(model, config)
        self.embeddings = VisionEmbeddings(tower)
        self.pre_layrnorm = tower.pre_norm  # CLIPModel's spelling
        self.encoder = Encoder(tower.blocks)
        self.post_layernorm = tower.head.norm
        self.pooling = tower.head.hidden

    def forward(
        self,
        pixel_values: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = False,
        return_dict: bool | None = None,
    ) -> Any:
        """Images (B, 3, H, W) to ``last_hidden_state`` (B, L, D) and ``pooler_output`` (B, D)."""
        full = self._models[0].vision_pass(
            pixel_values, interpolate_pos_encoding, attentions=bool(output_attentions)
        )
        return self._output(full, output_attentions, output_hidden_states, return_dict)


class ClipTextTower(ClipTower):
    """The text tower: ``text_model(input_ids).pooler_output`` goes into ``text_projection``."""

    def __init__(self, model: nn.Module, config: Any, tower: TextTower) -> None:
        super().__init__(model, config)
        self.embeddings = TextEmbeddings(tower)
        self.encoder = Encoder(tower.blocks)
        self.final_layer_norm = tower.head.norm
        self.pooling = tower.head.hidden

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Token ids (B, L) to ``last_hidden_state`` (B, L, D) and ``pooler_output`` (B, D)."""
        full = self._models[0].text_pass(
            input_ids, attention_mask, position_ids, attentions=bool(output_attentions)
        )
        return self._output(full, output_attentions, output_hidden_states, return_dict)
