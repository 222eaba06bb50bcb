"""OpenAI's ``clip.model``: the CLIP class for ImageBind, and ``convert_weights``. Other names are OpenAI's own."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from bindplug_open_clip.clip.openai import openai_attribute, openai_clip
from bindplug_open_clip.model import ClipImageBind, convert_weights_to_fp16, without_sensors
from bindplug_open_clip.options import warn_about_script
from bindplug_open_clip.passthrough import upstream
from bindplug_open_clip.sensor_mixin import logits

__all__ = ["OpenAiClip", "convert_weights"]

_Clip: Any = upstream("model").CLIP
_Transformer: Any = upstream("transformer").Transformer


class CausalTransformer(_Transformer):
    """A text transformer that can also be called as OpenAI's: ``transformer(x)``, sequence first, without a mask.

    Code that learns prompts (CoOp and its descendants) runs the text tower's parts itself in this way. With
    ``attn_mask`` the call is open_clip's, batch first.
    """

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Apply all blocks.

        Args:
            x: (L, N, D) without a mask, else (N, L, D).
            attn_mask: (L, L) as open_clip passes it; a causal mask for None.
        """
        if attn_mask is not None:
            return super().forward(x, attn_mask=attn_mask)
        length = x.shape[0]
        causal = x.new_full((length, length), float("-inf")).triu_(1)
        # (L, N, D) -> (N, L, D) -> (L, N, D)
        return super().forward(x.transpose(0, 1), attn_mask=causal).transpose(0, 1)


class _ScriptableClip(_Clip):
    """open_clip's CLIP with the output of OpenAI's."""

    def forward(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        rows = self.encode_image(image, normalize=True)
        texts = self.encode_text(text, normalize=True)
        per_image = self.logit_scale.exp() * rows @ texts.t()  # (B, D) @ (D, N) -> (B, N)
        return per_image, per_image.t()


class OpenAiClip(ClipImageBind):
    """ImageBind with the calls of OpenAI's CLIP: ``encode_*`` take any float dtype, ``forward`` returns logits."""

    def __prepare_scriptable__(self) -> Any:
        """What ``torch.jit.script`` compiles: the same two towers, called with a picture and a text batch."""
        warn_about_script(type(self).__name__)
        plain = without_sensors(self, _ScriptableClip)
        plain.transformer = copy.copy(plain.transformer)
        plain.transformer.__class__ = _Transformer
        return plain

    def __init__(self, **clip: Any) -> None:
        super().__init__(**clip)
        self.transformer.__class__ = CausalTransformer  # the same blocks under the same names

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Embed pictures. image: (B, 3, H, W) of any float dtype -> (B, D), not normalized by default."""
        castable = isinstance(image, Tensor) and image.is_floating_point()
        return super().encode_image(image.to(self.dtype) if castable else image, normalize=normalize)

    def forward(
        self, image: Tensor | None = None, text: Tensor | None = None, **sensors: Tensor | None
    ) -> Any:
        """Logits of every image (or sound, ...) against every text.

        Args:
            image: (B, 3, H, W); or instead of it one of ``video``, ``audio``, ``depth``, ``thermal``, ``imu``.
            text: (N, 77) token ids.
            sensors: the input in place of ``image``, by its modality's name.

        Returns:
            ``(logits_per_image, logits_per_text)``, (B, N) and (N, B).

        Raises:
            InputError: not exactly one input beside text.
        """
        return logits(self, text, {"image": image, **sensors})


def convert_weights(model: nn.Module) -> None:
    """Cast a model's weights to float16 in place, as OpenAI's function does.

    Args:
        model: an :class:`OpenAiClip`, a model of open_clip, or one of OpenAI's package.
    """
    theirs = openai_clip("model")
    if theirs is not None and isinstance(model, theirs.CLIP):
        theirs.convert_weights(model)
    else:
        convert_weights_to_fp16(model)


def __getattr__(name: str) -> Any:
    return openai_attribute("model", name)
