from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bindplug.inputs.filterbank import filter_banks, frame_count, mel_matrix

TOLERANCE = 1e-4


def kaldi(torchaudio, waveform):
    return torchaudio.compliance.kaldi.fbank(
        waveform[None], htk_compat=True, sample_frequency=16_000, use_energy=False, window_type="hanning",
        num_mel_bins=128, dither=0.0, frame_length=25, frame_shift=10,
    )  # fmt: skip


@pytest.mark.parametrize("samples", [400, 559, 560, 4321, 32_000])
@pytest.mark.parametrize("sound", ["noise", "tone", "silence", "offset"])
def test_equals_torchaudio(torchaudio, samples, sound):
    time = torch.arange(samples) / 16_000
    noise = 0.1 * torch.randn(3, samples, generator=torch.Generator().manual_seed(1))
    waveforms = {
        "noise": noise,
        "tone": 0.5 * torch.sin(2 * torch.pi * torch.tensor([[100.0], [440.0], [7000.0]]) * time),
        "silence": torch.zeros(3, samples),
        "offset": noise + 0.7,
    }[sound]
    expected = torch.stack([kaldi(torchaudio, waveform) for waveform in waveforms])
    assert expected.shape == (3, frame_count(samples), 128)
    torch.testing.assert_close(filter_banks(waveforms), expected, atol=TOLERANCE, rtol=0)


def test_chunks_of_a_large_batch_do_not_mix():
    waveforms = torch.randn(20, 32_000, generator=torch.Generator().manual_seed(2))
    alone = torch.cat([filter_banks(waveform[None]) for waveform in waveforms])
    torch.testing.assert_close(filter_banks(waveforms), alone, atol=TOLERANCE, rtol=0)


def test_loud_tone_falls_into_its_own_bin():
    time = torch.arange(16_000) / 16_000
    banks = filter_banks(torch.sin(2 * torch.pi * 1000 * time)[None])
    expected_bin = int(mel_matrix()[round(1000 * 512 / 16_000)].argmax())
    assert set(banks[0].argmax(1).tolist()) == {expected_bin}


@given(st.integers(400, 6000), st.floats(0.5, 4))
@settings(max_examples=20)
def test_doubling_the_amplitude_adds_log_four(samples, amplitude):
    waveform = amplitude * torch.randn(1, samples, generator=torch.Generator().manual_seed(samples))
    difference = filter_banks(2 * waveform) - filter_banks(waveform)
    audible = mel_matrix().any(
        0
    )  # the lowest bins are narrower than the spectrum is fine, and some hear nothing
    assert audible.sum() > 110
    expected = torch.full_like(difference, 4.0).log()
    torch.testing.assert_close(difference[..., audible], expected[..., audible], atol=1e-2, rtol=0)


def test_input_is_left_alone():
    waveforms = torch.randn(2, 1000)
    before = waveforms.clone()
    filter_banks(waveforms)
    assert torch.equal(waveforms, before)


@pytest.mark.parametrize("shape", [(399,), (2, 399), (1, 2, 400)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="at least 400 samples"):
        filter_banks(torch.zeros(shape))
