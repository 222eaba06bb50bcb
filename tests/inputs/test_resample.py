from __future__ import annotations

import pytest
import torch

from bindplug.inputs.resample import resample, sample_at


@pytest.mark.parametrize("from_hz", [8000, 11_025, 22_050, 24_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("samples", [1, 7, 5000])
def test_equals_torchaudio(torchaudio, from_hz, samples):
    waveform = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
    expected = torchaudio.functional.resample(waveform, from_hz, 16_000)
    torch.testing.assert_close(resample(waveform, from_hz, 16_000), expected, atol=1e-5, rtol=0)


def test_same_rate_is_the_identity():
    waveform = torch.randn(100)
    assert resample(waveform, 16_000, 16_000) is waveform


def test_awkward_rates_agree_with_the_polyphase_filter(monkeypatch):
    waveform = torch.randn(3000, generator=torch.Generator().manual_seed(0))
    expected = resample(waveform, 22_050, 16_000)
    monkeypatch.setattr("bindplug.inputs.resample.LARGEST_KERNEL", 0)
    torch.testing.assert_close(resample(waveform, 22_050, 16_000), expected, atol=1e-4, rtol=0)


def test_prime_rate_keeps_a_tone():
    time = torch.arange(44_101, dtype=torch.float64) / 44_101
    out = resample(torch.sin(2 * torch.pi * 440 * time).float(), 44_101, 16_000)
    assert out.shape == (16_000,)
    expected = torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000)
    torch.testing.assert_close(out[200:-200], expected[200:-200], atol=5e-3, rtol=0)


def test_sampling_at_the_samples_gives_them_back():
    waveform = torch.randn(2, 50, dtype=torch.float64)
    torch.testing.assert_close(sample_at(waveform, torch.arange(50.0)), waveform, atol=1e-9, rtol=0)
