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
_VisionTransformer: Any = upstream("transformer").VisionTransformer
_Block: Any = upstream("transformer").ResidualAttentionBlock
_ABSENT: Any = object()
"""Stands for a mask that was not passed."""


class SequenceFirstTransformer(_Transformer):
    """A transformer that can also be called as OpenAI's: ``transformer(x)``, sequence first, without a mask.

    Code that learns prompts (CoOp, MaPLe and their descendants) or explains what a model sees runs the towers' parts
    itself in this way. With ``attn_mask``, None too, the call is open_clip's, batch first. The blocks are sequence
    first, as OpenAI's.
    """

    def forward(self, x: Tensor, attn_mask: Tensor | None = _ABSENT) -> Tensor:
        """Apply all blocks.

        Args:
            x: (L, N, D) without a mask, else (N, L, D).
            attn_mask: (L, L) or None as open_clip passes it; if it is left out, the tower's own.
        """
        if attn_mask is not _ABSENT:
            return super().forward(x, attn_mask=attn_mask)
        # (L, N, D) -> (N, L, D) -> (L, N, D)
        return super().forward(x.transpose(0, 1), attn_mask=self.own_mask(x)).transpose(0, 1)

    def own_mask(self, x: Tensor) -> Tensor | None:
        """The mask for (L, N, D): none."""
        return None


class CausalTransformer(SequenceFirstTransformer):
    """The text tower's transformer, whose own mask is causal."""

    def own_mask(self, x: Tensor) -> Tensor | None:
        """The mask for (L, N, D): (L, L), minus infinity above the diagonal."""
        return _causal(x)


class CausalBlock(_Block):
    """A block of the text tower, which has its mask itself where none is passed, as OpenAI's."""

    def forward(
        self,
        q_x: Tensor,
        k_x: Tensor | None = None,
        v_x: Tensor | None = None,
        attn_mask: Tensor | None = None,
    ) -> Tensor:
        """(L, N, D) -> (L, N, D)."""
        mask = _causal(q_x) if attn_mask is None else attn_mask
        return super().forward(q_x, k_x, v_x, attn_mask=mask)


class OpenAiVisionTransformer(_VisionTransformer):
    """The image tower, whose ``transformer`` and blocks are called as OpenAI's."""

    def forward(self, x: Tensor) -> Any:
        """(N, 3, H, W) -> (N, E), as open_clip's."""
        tokens = self.transformer(self._embeds(x), attn_mask=None)  # (N, L, D)
        pooled, tokens = self._pool(tokens)
        pooled = pooled if self.proj is None else pooled @ self.proj
        return (pooled, tokens) if self.output_tokens else pooled


_UPSTREAM = {
    SequenceFirstTransformer: _Transformer,
    CausalTransformer: _Transformer,
    CausalBlock: _Block,
    OpenAiVisionTransformer: _VisionTransformer,
}
"""Classes of parts -> open_clip's, which compute the same from the same attributes."""


def _causal(x: Tensor) -> Tensor:
    """(L, N, D) -> (L, L), minus infinity above the diagonal."""
    return x.new_full((x.shape[0], x.shape[0]), float("-inf")).triu_(1)


def _make_sequence_first(model: Any) -> None:
    """Give a CLIP's parts the classes above; parameters and their names stay."""
    model.visual.__class__ = OpenAiVisionTransformer
    model.visual.transformer.__class__ = SequenceFirstTransformer
    model.transformer.__class__ = CausalTransformer
    for transformer in (model.visual.transformer, model.transformer):
        transformer.batch_first = False
        for block in transformer.resblocks:
            block.attn.batch_first = False
    for block in model.transformer.resblocks:
        block.__class__ = CausalBlock


def _as_upstream(module: nn.Module) -> nn.Module:
    """The same module of open_clip's classes; parameters are shared."""
    twin = copy.copy(module)
    twin.__class__ = _UPSTREAM.get(type(module), type(module))
    twin._modules = {
        name: None if child is None else _as_upstream(child) for name, child in module._modules.items()
    }
    return twin


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
        return _as_upstream(without_sensors(self, _ScriptableClip))

    def __init__(self, **clip: Any) -> None:
        super().__init__(**clip)
        _make_sequence_first(self)

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
