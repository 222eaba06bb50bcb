"""The image and text towers as CLIPModel's ``vision_model`` and ``text_model``.

The modules hold the towers' own parameters, so freezing, hooks and optimizers act on the model. They are made at each
access and belong to no state dict.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling
from typing_extensions import Self

from bindplug.errors import InputError
from bindplug.imagebind import PatchTower, TextTower, Tower
from bindplug_transformers.checks import require
from bindplug_transformers.hidden_states import FullPass

NAMES = ("logit_scale", "vision_model", "text_model", "visual_projection", "text_projection")
"""Attributes of CLIPModel that ImageBindModel has too."""


class View(nn.Module):
    """A module made at access, of modules that belong to a tower.

    The model runs the tower and not the view, so hooks on the view itself are not the model's, of which a warning
    tells. Those on the modules within are. Its mode is the tower's.
    """

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        # In a list, which modules do not look into: the view's own submodules have CLIP's names.
        self._towers: list[Tower] = [tower]
        self.training = tower.training

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the tower's weights."""
        return self._towers[0].dtype

    @property
    def device(self) -> torch.device:
        """Where the tower's weights are."""
        return next(self._towers[0].parameters()).device

    def train(self, mode: bool = True) -> Self:
        """torch's; the tower is then in the same mode."""
        self._towers[0].train(mode)
        return super().train(mode)

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
    """What makes tokens of an image; called as CLIP's, (B, 3, H, W) to (B, L, D) before ``pre_layrnorm``."""

    def __init__(self, tower: PatchTower) -> None:
        super().__init__(tower)
        self.patch_embedding = tower.stem.proj
        self.class_embedding = tower.cls_token
        self.position_embedding = tower.pos_embed

    def forward(self, pixel_values: Tensor, interpolate_pos_encoding: bool = False) -> Tensor:
        """(B, 3, H, W) -> (B, 1 + patches, D), other sizes than the tower's only if positions are interpolated."""
        tower: Any = self._towers[0]
        tokens, grid = tower.stem(pixel_values.to(tower.dtype))
        if grid != tower.grid and not interpolate_pos_encoding:
            found = f"pictures of {tuple(pixel_values.shape[-2:])} pixels"
            remedy = "Pass interpolate_pos_encoding=True for other sizes."
            raise InputError("embeddings", found=found, expected="the tower's size", remedy=remedy)
        cls_token = tower.cls_token.to(tokens.dtype).expand(tokens.shape[0], -1, -1)  # (1, 1, D) -> (B, 1, D)
        states: Tensor = torch.cat((cls_token, tokens), dim=1) + tower.positions(grid)
        return states


class TextEmbeddings(View):
    """What makes tokens of a text; called as CLIP's, (B, L) ids or (B, L, D) ``inputs_embeds`` to (B, L, D)."""

    def __init__(self, tower: TextTower) -> None:
        super().__init__(tower)
        self.token_embedding = tower.token_embedding
        self.position_embedding = tower.pos_embed

    def forward(
        self,
        input_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """Embeddings with those of their positions added, which start at 0."""
        if inputs_embeds is None:
            inputs_embeds = self.token_embedding(require("embeddings", "input_ids", input_ids))
        length = inputs_embeds.shape[1]
        if position_ids is not None:
            expected = torch.arange(length, device=position_ids.device)
            if not torch.equal(position_ids, expected.expand_as(position_ids)):
                raise InputError("embeddings", found="other position_ids", expected="0, 1, 2, ... or None")
        return inputs_embeds + self.position_embedding[:, :length]


class Encoder(View):
    """A tower's blocks, called as CLIP's encoder.

    Args:
        tower: the tower.
        causal: whether a token attends to earlier ones alone, as in the text tower.
    """

    def __init__(self, tower: Tower, *, causal: bool) -> None:
        super().__init__(tower)
        self.causal = causal
        self.layers = tower.blocks

    def forward(
        self, inputs_embeds: Tensor, attention_mask: Tensor | None = None, **options: Any
    ) -> BaseModelOutput:
        """States (B, L, D) through every block.

        Args:
            inputs_embeds: the states.
            attention_mask: without effect; the text tower's mask is causal in any case, the image tower has none.
            options: ``causal_attention_mask`` as ``attention_mask``. Others have no effect.
        """
        tower, states = self._towers[0], inputs_embeds
        for block in self.layers:
            states = tower.run_block(block, states, causal=self.causal)
        return BaseModelOutput(last_hidden_state=states)


class ClipTower(View):
    """A tower without its projection, called as CLIP's.

    Args:
        model: the model whose tower it is.
        config: the tower's config in CLIP's words.
    """

    def __init__(self, model: nn.Module, config: Any, tower: Tower) -> None:
        super().__init__(tower)
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
        super().__init__(model, config, tower)
        self.embeddings = VisionEmbeddings(tower)
        self.pre_layrnorm = tower.pre_norm  # CLIPModel's spelling
        self.encoder = Encoder(tower, causal=False)
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
        super().__init__(model, config, tower)
        self.embeddings = TextEmbeddings(tower)
        self.encoder = Encoder(tower, causal=True)
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
