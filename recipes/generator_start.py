"""Where the autoencoder's training starts: as one that keeps the mean color of the pixels below each latent.

From random weights it is slow to let color through sixteen layers that each normalize it; a network whose residual
branches start silent (as Fixup's, arXiv 1901.09321), and whose trunk carries color, learns detail from the first step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

COLORS = 3
PEDESTAL = 4.0
"""A constant beside the colors that dwarfs them: then a group's normalization hardly depends on the picture."""
LOG_VARIANCE = -7.0
"""Of the latents' noise, at the start."""


@torch.no_grad()
def start_from_colors(vae: Any) -> None:
    """Set weights of a diffusers ``AutoencoderKL`` in place.

    Its first three latents then are the mean colors of the pixels below them, and decode to these; what other latents
    hold is not yet looked at.

    Args:
        vae: without attention, each level wider than the one before, its groups of four channels or more.
    """
    encoder, decoder = vae.encoder, vae.decoder
    for module in vae.modules():
        if hasattr(module, "conv2") and hasattr(module, "conv1"):
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)
        if getattr(module, "conv_shortcut", None) is not None:
            _pass_on(module.conv_shortcut)
    _pass_on(encoder.conv_in)
    for block in encoder.down_blocks[:-1]:
        _pass_on(block.downsamplers[0].conv, taps=((0, 0), (0, 1), (1, 0), (1, 1)))
    _pass_on(decoder.conv_in)
    for block in decoder.up_blocks[:-1]:
        _pass_on(block.upsamplers[0].conv)
    gain = _through_norm(encoder.down_blocks[-1].resnets[0].conv_shortcut, encoder.conv_norm_out)
    _read_pairs(encoder.conv_out, encoder.conv_norm_out, gain)
    gain = _through_norm(decoder.up_blocks[-1].resnets[0].conv_shortcut, decoder.conv_norm_out)
    _read_pairs(decoder.conv_out, decoder.conv_norm_out, gain)
    _pass_all(vae.quant_conv)
    _pass_all(vae.post_quant_conv)
    latents = len(vae.quant_conv.bias) // 2
    nn.init.zeros_(vae.quant_conv.weight[latents:])
    nn.init.constant_(vae.quant_conv.bias[latents:], LOG_VARIANCE)


def _pass_on(convolution: Any, taps: tuple[tuple[int, int], ...] | None = None) -> None:
    """Let the first three channels through, as the mean of some taps; the center alone for None."""
    weight = convolution.weight
    center = (weight.shape[2] // 2, weight.shape[3] // 2)
    weight[:COLORS] = 0
    convolution.bias[:COLORS] = 0
    for channel in range(COLORS):
        for row, column in taps or (center,):
            weight[channel, channel, row, column] = 1 / len(taps or (center,))


def _pass_all(convolution: Any) -> None:
    weight: Tensor = convolution.weight
    weight.copy_(torch.eye(weight.shape[0], weight.shape[1])[:, :, None, None])
    nn.init.zeros_(convolution.bias)


def _through_norm(convolution: Any, norm: nn.GroupNorm) -> float:
    """Write each color as a pair of opposites, with a pair of constants, into a group of its own.

    Returns:
        The factor that undoes the group's normalization.
    """
    size = norm.num_channels // norm.num_groups
    for color in range(COLORS):
        first = color * size
        convolution.weight[first : first + size] = 0
        convolution.bias[first : first + size] = 0
        convolution.weight[first, color] = 1
        convolution.weight[first + 1, color] = -1
        convolution.bias[first + 2] = PEDESTAL
        convolution.bias[first + 3] = -PEDESTAL
    return PEDESTAL * (2 / size) ** 0.5


def _read_pairs(convolution: Any, norm: nn.GroupNorm, gain: float) -> None:
    """Undo :func:`_through_norm` behind SiLU, for which silu(x) - silu(-x) = x."""
    size = norm.num_channels // norm.num_groups
    row, column = convolution.weight.shape[2] // 2, convolution.weight.shape[3] // 2
    convolution.weight[:COLORS] = 0
    convolution.bias[:COLORS] = 0
    for color in range(COLORS):
        convolution.weight[color, color * size, row, column] = gain
        convolution.weight[color, color * size + 1, row, column] = -gain
