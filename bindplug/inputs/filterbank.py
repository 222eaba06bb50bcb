"""Kaldi's log-mel filter banks for whole batches of sounds at once.

Shape letters: N sounds, S samples, T frames, M mel bins.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 400
HOP_SAMPLES = 160
"""Frames of 25 ms every 10 ms."""
PADDED_SAMPLES = 512
MEL_BINS = 128
LOWEST_HZ = 20.0
PREEMPHASIS = 0.97
"""Source: Kaldi's defaults for ``compute-fbank-feats``."""
SMALLEST_ENERGY = torch.finfo(torch.float32).eps
FRAMES_AT_ONCE = 512
"""Keeps a chunk's working set inside a CPU's second-level cache."""
MEL_GROUP = 32


def frame_count(samples: int) -> int:
    """Whole frames in ``samples`` (Kaldi's ``snip_edges``): no frame reaches past the end."""
    return 0 if samples < FRAME_SAMPLES else 1 + (samples - FRAME_SAMPLES) // HOP_SAMPLES


def filter_banks(waveforms: Tensor) -> Tensor:
    """Log-mel energies of ``waveforms`` (N, S) at 16 kHz: (N, T, 128) float32, T = 1 + (S - 400) // 160.

    The numbers of ``torchaudio.compliance.kaldi.fbank`` with ``htk_compat``, a Hann window, 128 bins, no
    dither and no energy. Each sound's mean is left in place; each *frame's* is removed, as Kaldi does.

    Raises:
        ValueError: ``waveforms`` is not (N, S) with S >= 400.
    """
    if waveforms.ndim != 2 or waveforms.shape[1] < FRAME_SAMPLES:
        shape, least = tuple(waveforms.shape), FRAME_SAMPLES
        raise ValueError(
            f"waveforms of shape {shape}; expected (sounds, samples) with at least {least} samples"
        )
    frames = waveforms.float().unfold(1, FRAME_SAMPLES, HOP_SAMPLES)  # (N, T, 400), a view
    count, length = frames.shape[:2]
    out = torch.empty(count, length, MEL_BINS, device=waveforms.device)
    at_once = max(1, FRAMES_AT_ONCE // length) if waveforms.device.type == "cpu" else max(1, count)
    window, groups = _constants(str(waveforms.device))
    padded = torch.zeros(at_once * length, PADDED_SAMPLES, device=waveforms.device)
    for start in range(0, count, at_once):
        chunk = frames[start : start + at_once].reshape(-1, FRAME_SAMPLES)
        banks = out[start : start + at_once].view(-1, MEL_BINS)
        _log_mel(chunk, window, groups, padded[: len(chunk)], banks)
    return out


def _log_mel(
    frames: Tensor, window: Tensor, groups: list[tuple[slice, slice, Tensor]], padded: Tensor, out: Tensor
) -> None:
    """Fill ``out`` (T, M) from ``frames`` (T, 400); ``padded`` (T, 512) is zero past column 400.

    The order of operations follows Kaldi's: quiet bins beside loud ones are lost to rounding otherwise.
    """
    frames = frames - frames.mean(1, keepdim=True)
    emphasised = padded[:, :FRAME_SAMPLES]
    torch.mul(frames[:, :-1], -PREEMPHASIS, out=emphasised[:, 1:])
    emphasised[:, 1:] += frames[:, 1:]
    emphasised *= window  # zero at the first sample, the one without a predecessor
    squares = torch.view_as_real(torch.fft.rfft(padded)).square_()  # (T, 257, 2)
    power = squares[..., 0] + squares[..., 1]
    for mel_bins, fft_bins, weights in groups:
        torch.mm(power[:, fft_bins], weights, out=out[:, mel_bins])
    out.clamp_(min=SMALLEST_ENERGY).log_()


@lru_cache(maxsize=8)
def _constants(device: str) -> tuple[Tensor, list[tuple[slice, slice, Tensor]]]:
    """The window, and the mel matrix in groups of columns without the rows that are zero in them."""
    window = torch.hann_window(FRAME_SAMPLES, periodic=False)
    window[0] = 0.0
    matrix, groups = mel_matrix(), []
    for start in range(0, MEL_BINS, MEL_GROUP):
        columns = matrix[:, start : start + MEL_GROUP]
        rows = columns.any(1).nonzero()
        fft_bins = slice(int(rows[0]), int(rows[-1]) + 1)
        weights = columns[fft_bins].contiguous().to(device)
        groups.append((slice(start, start + MEL_GROUP), fft_bins, weights))
    return window.to(device), groups


@lru_cache(maxsize=1)
def mel_matrix() -> Tensor:
    """Triangular filters from power spectrum to mel bins, (257, 128) float32, even on the mel scale.

    Source: the HTK book's scale, 1127 ln(1 + f / 700), from 20 Hz to 8 kHz. In float32 throughout, as
    Kaldi computes it: near a triangle's edge the rounding shows in the logarithm.
    """
    low, high = (1127.0 * math.log(1.0 + hertz / 700.0) for hertz in (LOWEST_HZ, SAMPLE_RATE_HZ / 2))
    step = (high - low) / (MEL_BINS + 1)
    index = torch.arange(MEL_BINS)
    left, center, right = low + index * step, low + (index + 1.0) * step, low + (index + 2.0) * step
    hertz = (SAMPLE_RATE_HZ / PADDED_SAMPLES) * torch.arange(PADDED_SAMPLES // 2)
    bins = (1127.0 * (1.0 + hertz / 700.0).log())[:, None]
    triangles = torch.minimum((bins - left) / (center - left), (right - bins) / (right - center)).clamp(min=0)
    return torch.cat([triangles, torch.zeros(1, MEL_BINS)])  # Kaldi leaves the Nyquist bin out
