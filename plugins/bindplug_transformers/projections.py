"""One tower alone, called as CLIP's models with projection are called."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPTextModelOutput, CLIPVisionModelOutput

from bindplug_transformers.base import ImageBindPreTrainedModel
from bindplug_transformers.checks import check_image_size, check_text, require


class ImageBindTextModelWithProjection(ImageBindPreTrainedModel):
    """The text tower alone; loads from a whole model's checkpoint too, reading only its part.

    Args:
        config: the shape of the whole network.
    """

    main_input_name = "input_ids"
    _only: ClassVar[tuple[str, ...]] = ("text",)
    _keys_to_ignore_on_load_unexpected = [r"network\.towers\.(?!text\.)"]  # noqa: RUF012 - as its base declares it

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> CLIPTextModelOutput | tuple[Any, ...]:
        """``text_embeds`` (B, D), not normalized, as CLIP's.

        Args:
            input_ids, attention_mask, position_ids: as in :meth:`ImageBindModel.get_text_features`.
            output_attentions: whether to fill ``attentions`` and ``last_hidden_state``, else None.
            output_hidden_states: whether to fill ``hidden_states`` and ``last_hidden_state``, else None.
            return_dict: False for a tuple.

        Raises:
            InputError: an argument is missing or cannot be honoured.
        """
        states, attentions = self._requested(output_hidden_states, output_attentions)
        if states or attentions:
            full = self.text_pass(input_ids, attention_mask, position_ids, attentions=attentions)
            output = CLIPTextModelOutput(
                text_embeds=full.rows,
                last_hidden_state=full.last,
                hidden_states=full.states if states else None,
                attentions=full.attentions,
            )
        else:
            ids = require("ImageBindTextModelWithProjection", "input_ids", input_ids)
            check_text(ids, attention_mask, position_ids)
            output = CLIPTextModelOutput(text_embeds=self.network.encode_text(ids))
        return output.to_tuple() if return_dict is False else output


class ImageBindVisionModelWithProjection(ImageBindPreTrainedModel):
    """The vision tower alone, for tools that want CLIP's image encoder, such as diffusers' pipelines.

    Loads from a whole model's checkpoint too, reading only its part.

    Args:
        config: the shape of the whole network.
    """

    _only: ClassVar[tuple[str, ...]] = ("image", "video")
    _keys_to_ignore_on_load_unexpected = [r"network\.towers\.(?!vision\.)"]  # noqa: RUF012 - as its base declares it

    def forward(
        self,
        pixel_values: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = False,
        return_dict: bool | None = None,
    ) -> CLIPVisionModelOutput | tuple[Any, ...]:
        """``image_embeds`` (B, D), not normalized, as CLIP's.

        Args:
            pixel_values, interpolate_pos_encoding: as in :meth:`ImageBindModel.get_image_features`.
            output_attentions: whether to fill ``attentions`` and ``last_hidden_state``, else None.
            output_hidden_states: whether to fill ``hidden_states`` and ``last_hidden_state``, else None.
            return_dict: False for a tuple.

        Raises:
            InputError: an argument is missing or cannot be honoured.
        """
        states, attentions = self._requested(output_hidden_states, output_attentions)
        if states or attentions:
            full = self.vision_pass(pixel_values, interpolate_pos_encoding, attentions=attentions)
            output = CLIPVisionModelOutput(
                image_embeds=full.rows,
                last_hidden_state=full.last,
                hidden_states=full.states if states else None,
                attentions=full.attentions,
            )
        else:
            pixels = require("ImageBindVisionModelWithProjection", "pixel_values", pixel_values)
            check_image_size(pixels, self.config, interpolate_pos_encoding)
            output = CLIPVisionModelOutput(image_embeds=self.network.encode_image(pixels))
        return output.to_tuple() if return_dict is False else output
