"""ImageBind with CLIPModel's methods, and their like for every other modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bindplug.errors import InputError
from bindplug.imagebind import MAX_SCALE, unit
from bindplug.modality import Modality
from bindplug.query import Query
from bindplug_transformers.base import ImageBindPreTrainedModel
from bindplug_transformers.checks import check_image_size, check_text, require
from bindplug_transformers.hidden_states import FullPass
from bindplug_transformers.outputs import TRANSFORMERS_4, ImageBindOutput, pooled

__all__ = ["ImageBindModel", "ImageBindPreTrainedModel"]

TOWER_OUTPUTS = {"text": "text_model_output", "image": "vision_model_output"}

Features = Any
"""A ``BaseModelOutputWithPooling`` with transformers 5, a tensor (B, D) with transformers 4."""


class ImageBindModel(ImageBindPreTrainedModel):
    """Six towers that meet in one space, called as ``CLIPModel`` is called.

    ``get_..._features`` give raw embeddings (B, D), before normalization, in the form the installed
    transformers gives CLIP's: up to version 4 a tensor, from version 5 an output whose ``pooler_output`` they
    are. ``network`` is the bindplug encoder; :meth:`embed` takes queries. ``vision_model``, ``text_model``,
    ``visual_projection``, ``text_projection`` and ``logit_scale`` are CLIPModel's.

    Args:
        config: the shape.
    """

    def get_text_features(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Features:
        """Embed texts.

        Args:
            input_ids: (B, L) token ids, L up to 77.
            attention_mask: (B, L), zero where padded; padding stands on the right.
            position_ids: 0, 1, 2, ... or None; other positions are refused.
            output_attentions: whether the output (transformers 5) also holds every block's attention weights.
            output_hidden_states: whether it also holds all tokens' states.
            return_dict: False for a tuple instead of an output (transformers 5).

        Raises:
            InputError: an argument is missing or cannot be honored.
            ModalityNotLoaded: the model has no text tower.
        """
        if (output_hidden_states or output_attentions) and not TRANSFORMERS_4:
            full = self.text_pass(input_ids, attention_mask, position_ids, attentions=bool(output_attentions))
            return _full_output(full, output_hidden_states, return_dict)
        ids = require("get_text_features", "input_ids", input_ids)
        check_text(ids, attention_mask, position_ids)
        return _features_output(self.network.encode_text(ids), return_dict)

    def get_image_features(
        self,
        pixel_values: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = False,
        return_dict: bool | None = None,
    ) -> Features:
        """Embed images.

        Args:
            pixel_values: (B, 3, 224, 224), normalized as :class:`ImageBindImageProcessor` does.
            interpolate_pos_encoding: whether other heights and widths are taken, in whole patches.
            output_attentions, output_hidden_states, return_dict: as in :meth:`get_text_features`.

        Raises:
            InputError: an argument is missing or cannot be honored.
            ModalityNotLoaded: the model has no vision tower.
        """
        if (output_hidden_states or output_attentions) and not TRANSFORMERS_4:
            full = self.vision_pass(
                pixel_values, interpolate_pos_encoding, attentions=bool(output_attentions)
            )
            return _full_output(full, output_hidden_states, return_dict)
        pixels = require("get_image_features", "pixel_values", pixel_values)
        check_image_size(pixels, self.config, interpolate_pos_encoding)
        return _features_output(self.network.encode_image(pixels), return_dict)

    def get_video_features(
        self, pixel_values_videos: Tensor | None = None, return_dict: bool | None = None
    ) -> Features:
        """Embed videos, (B, S, 3, 2, 224, 224) for S clips of two frames."""
        x = require("get_video_features", "pixel_values_videos", pixel_values_videos)
        return _features_output(self.network.encode_video(x), return_dict)

    def get_audio_features(
        self, input_features: Tensor | None = None, return_dict: bool | None = None
    ) -> Features:
        """Embed sounds, log-mel pictures (B, S, 1, 128, 204) of S clips."""
        x = require("get_audio_features", "input_features", input_features)
        return _features_output(self.network.encode_audio(x), return_dict)

    def get_depth_features(
        self, depth_values: Tensor | None = None, return_dict: bool | None = None
    ) -> Features:
        """Embed depth maps, (B, 1, 224, 224) normalized disparity."""
        x = require("get_depth_features", "depth_values", depth_values)
        return _features_output(self.network.encode_depth(x), return_dict)

    def get_thermal_features(
        self, thermal_values: Tensor | None = None, return_dict: bool | None = None
    ) -> Features:
        """Embed thermal pictures, (B, 1, 224, 224) in [0, 1]."""
        x = require("get_thermal_features", "thermal_values", thermal_values)
        return _features_output(self.network.encode_thermal(x), return_dict)

    def get_imu_features(self, imu_values: Tensor | None = None, return_dict: bool | None = None) -> Features:
        """Embed motions, (B, 6, 2000)."""
        x = require("get_imu_features", "imu_values", imu_values)
        return _features_output(self.network.encode_imu(x), return_dict)

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        return_loss: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        interpolate_pos_encoding: bool = False,
        return_dict: bool | None = None,
        pixel_values_videos: Tensor | None = None,
        input_features: Tensor | None = None,
        depth_values: Tensor | None = None,
        thermal_values: Tensor | None = None,
        imu_values: Tensor | None = None,
    ) -> ImageBindOutput | tuple[Any, ...]:
        """Embed what is given and compare it with the anchors: the texts, or without texts the images.

        Args:
            return_loss: whether to compute the contrastive loss; row i of everything given then belongs together.
            return_dict: False for a tuple of the output's fields that are not None.
            output_attentions, output_hidden_states: whether ``text_model_output`` and ``vision_model_output`` hold
                every block's attention weights, and all tokens' states.
            input_ids, attention_mask, position_ids, pixel_values, interpolate_pos_encoding: as in
                :meth:`get_text_features` and :meth:`get_image_features`.
            pixel_values_videos, input_features, depth_values, thermal_values, imu_values: as in the other
                ``get_..._features``.

        Raises:
            InputError: nothing is given, an argument cannot be honored, or a loss lacks its pairs.
            ModalityNotLoaded: the model has no tower for something given.
        """
        states, attentions = self._requested(output_hidden_states, output_attentions)
        raw: dict[str, Tensor] = {}
        full: dict[str, FullPass] = {}
        if input_ids is not None:
            if attentions or states:
                full["text"] = self.text_pass(input_ids, attention_mask, position_ids, attentions=attentions)
                raw["text"] = full["text"].rows
            else:
                check_text(input_ids, attention_mask, position_ids)
                raw["text"] = self.network.encode_text(input_ids)
        if pixel_values is not None:
            if attentions or states:
                full["image"] = self.vision_pass(
                    pixel_values, interpolate_pos_encoding, attentions=attentions
                )
                raw["image"] = full["image"].rows
            else:
                check_image_size(pixel_values, self.config, interpolate_pos_encoding)
                raw["image"] = self.network.encode_image(pixel_values)
        sensors = {
            "video": pixel_values_videos,
            "audio": input_features,
            "depth": depth_values,
            "thermal": thermal_values,
            "imu": imu_values,
        }
        raw |= {name: self.network.encode(name, x) for name, x in sensors.items() if x is not None}
        if not raw:
            expected = "input_ids, pixel_values, input_features or another input"
            raise InputError("forward", found="no input", expected=expected)
        output = self._compare(raw, bool(return_loss))
        for name, field in TOWER_OUTPUTS.items():
            if name in full:
                output[field] = _tower_output(full[name], states)
            elif name in raw and not TRANSFORMERS_4:
                output[field] = pooled(raw[name])
        as_output = self.config.return_dict if return_dict is None else return_dict
        return output if as_output else output.to_tuple()

    def embed(self, queries: Query | Sequence[Query], **options: Any) -> Tensor:
        """Embed bindplug queries, each to one unit row; see :meth:`bindplug.Encoder.embed`."""
        return self.network.embed(queries, **options)

    def similarity(self, a: Any, b: Any, **options: Any) -> Tensor:
        """Probabilities over ``b`` for every query of ``a``; see :meth:`bindplug.Encoder.similarity`."""
        return self.network.similarity(a, b, **options)

    def _compare(self, raw: dict[str, Tensor], with_loss: bool) -> ImageBindOutput:
        rows = {name: unit(row) for name, row in raw.items()}
        anchor = "text" if "text" in rows else "image"
        logits = {
            name: row @ rows[anchor].T * self._factor(name)  # (N, E) @ (E, A) -> (N, A)
            for name, row in rows.items()
            if name != anchor and anchor in rows
        }
        fields: dict[str, Any] = {f"{name}_embeds": row for name, row in rows.items()}
        fields |= {f"logits_per_{name}": table for name, table in logits.items()}
        fields["loss"] = _contrastive_loss(logits) if with_loss else None
        if "image" in logits:
            fields["logits_per_text"] = logits["image"].T
        return ImageBindOutput(**fields)

    def _factor(self, modality: str) -> Tensor:
        """The factor on cosines with the anchors: a sensor's own, as :meth:`similarity` uses, else CLIP's."""
        if Modality(modality).tower in ("vision", "text"):
            return self._scale("text")
        fitted = self.network.similarity_scales.get(modality)
        return self._scale(modality) if fitted is None else self.network.logit_scale.new_tensor(fitted)

    def _scale(self, modality: str) -> Tensor:
        log_scale = (
            self.network.logit_scale if modality == "text" else self.network.towers[modality].log_scale
        )
        assert isinstance(log_scale, Tensor)
        return log_scale.exp().clamp(max=MAX_SCALE)


def _features_output(rows: Tensor, return_dict: bool | None) -> Features:
    if TRANSFORMERS_4:
        return rows
    return pooled(rows).to_tuple() if return_dict is False else pooled(rows)


def _full_output(full: FullPass, with_states: bool | None, return_dict: bool | None) -> Features:
    output = _tower_output(full, bool(with_states))
    return output.to_tuple() if return_dict is False else output


def _tower_output(full: FullPass, with_states: bool) -> Any:
    """As CLIP's: ``pooler_output`` is projected with transformers 5, not yet with transformers 4."""
    rows = full.pooled if TRANSFORMERS_4 else full.rows
    return pooled(rows, full.states if with_states else None, full.last, full.attentions)


def _contrastive_loss(logits: dict[str, Tensor]) -> Tensor:
    """CLIP's loss of every modality with the anchors, averaged over modalities."""
    remedy = "Row i of everything given must belong together."
    if not logits:
        expected = "texts, or images, and something beside them"
        raise InputError("return_loss", found="one side only", expected=expected, remedy=remedy)
    losses = []
    for name, table in logits.items():
        if table.shape[0] != table.shape[1]:
            counts = f"{table.shape[0]} rows of {name} for {table.shape[1]}"
            raise InputError("return_loss", found=counts, expected="as many of each", remedy=remedy)
        matches = torch.arange(len(table), device=table.device)  # row i belongs to anchor i
        # Each row must pick its anchor, and each anchor its row.
        losses.append((F.cross_entropy(table, matches) + F.cross_entropy(table.T, matches)) / 2)
    return torch.stack(losses).mean()
