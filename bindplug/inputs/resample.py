"""Windowed-sinc resampling: of sounds between whole sample rates, of motion at arbitrary instants."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

ZERO_CROSSINGS = 6
ROLLOFF = 0.99
"""Lowpass width and roll-off. Source: the documented defaults of ``torchaudio.functional.resample``."""
LARGEST_KERNEL = 4_000_000
"""Elements above which a polyphase kernel (rates with a small common divisor) is not worth its memory."""
CHUNK = 1 << 16


def resample(waveform: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """``waveform`` (..., N) at ``from_hz`` resampled to ``to_hz``: (..., ceil(N * to_hz / from_hz)).

    A lowpass of sinc shape under a Hann window, zeros assumed outside the waveform: the numbers of
    ``torchaudio.functional.resample`` with its defaults.

    Source: J. O. Smith, "Digital Audio Resampling", the bandlimited interpolation formula.
    """
    if from_hz == to_hz:
        return waveform
    divisor = math.gcd(from_hz, to_hz)
    old, new = from_hz // divisor, to_hz // divisor
    length = -(-waveform.shape[-1] * new // old)
    half = math.ceil(ZERO_CROSSINGS * old / (min(old, new) * ROLLOFF))
    if new * (2 * half + old) > LARGEST_KERNEL:
        positions = torch.arange(length, dtype=torch.float64) * old / new
        return sample_at(waveform, positions, cutoff=min(1.0, new / old) * ROLLOFF)
    kernel = _polyphase_kernel(old, new).to(waveform)
    rows = F.pad(waveform.reshape(-1, 1, waveform.shape[-1]), (half, half + old))
    phases = F.conv1d(rows, kernel[:, None], stride=old)  # (rows, new, blocks)
    resampled = phases.transpose(1, 2).reshape(rows.shape[0], -1)[:, :length]
    return resampled.reshape(*waveform.shape[:-1], length)


def reach(from_hz: int, to_hz: int) -> int:
    """Samples at ``from_hz`` on either side of an instant that :func:`resample` looks at."""
    return math.ceil(ZERO_CROSSINGS * max(1.0, from_hz / to_hz) / ROLLOFF) + 1


def sample_at(
    waveform: Tensor, positions: Tensor, *, cutoff: float = 1.0, zero_crossings: int = ZERO_CROSSINGS
) -> Tensor:
    """Values of ``waveform`` (..., N) at fractional sample ``positions`` (M,): (..., M).

    Args:
        waveform: evenly spaced samples, indices as zero outside.
        positions: float64, in samples.
        cutoff: lowpass edge as a fraction of the waveform's own Nyquist frequency, in (0, 1].
        zero_crossings: half-width of the kernel in zero crossings of the sinc.
    """
    half = math.ceil(zero_crossings / cutoff)
    padded = F.pad(waveform, (half, half + 1))
    offsets = torch.arange(-half, half + 2)
    parts = []
    for part in positions.to(torch.float64).split(CHUNK):
        nearest = part.floor()
        weights = _windowed_sinc((offsets - (part - nearest)[:, None]) * cutoff, zero_crossings, scale=cutoff)
        indices = (nearest.long()[:, None] + offsets + half).clamp_(0, padded.shape[-1] - 1)
        gathered = padded[..., indices.to(padded.device)]  # (..., part, taps)
        parts.append(torch.einsum("...pt,pt->...p", gathered, weights.to(padded)))
    return torch.cat(parts, -1)


@lru_cache(maxsize=16)
def _polyphase_kernel(old: int, new: int) -> Tensor:
    """One row of filter taps for each of the ``new`` output phases, (new, 2 * half + old).

    In float32 throughout, as torchaudio's is: the rounding of the phases shows in the fifth digit.
    """
    edge = min(old, new) * ROLLOFF
    half = math.ceil(ZERO_CROSSINGS * old / edge)
    inputs = torch.arange(-half, half + old, dtype=torch.float32) / old
    outputs = torch.arange(0, -new, -1, dtype=torch.float32) / new
    return _windowed_sinc((outputs[:, None] + inputs) * edge, ZERO_CROSSINGS, scale=edge / old)


def _windowed_sinc(t: Tensor, zero_crossings: int, scale: float) -> Tensor:
    t = t.clamp(-zero_crossings, zero_crossings)
    window = torch.cos(t * math.pi / zero_crossings / 2).square()
    t = t * math.pi
    return torch.where(t == 0, torch.ones_like(t), t.sin() / t) * (window * scale)
