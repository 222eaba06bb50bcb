"""Log-mel filter banks of many clips, alone and from files."""

from __future__ import annotations

import torch

from benchmarks.harness import Comparison, ensure_equal, in_turns, seconds
from benchmarks.naive.sounds import filter_bank, read_clips, read_sounds
from benchmarks.options import Options
from benchmarks.sounds import write_sounds

GOAL = 3.0
USUAL_REPEATS = 7
SOUNDS, SMOKE_SOUNDS = 64, 2


def run(options: Options) -> list[Comparison]:
    """Two comparisons: the filter banks alone, and everything from the files to the tower's input."""
    from bindplug.inputs import AudioPreprocess
    from bindplug.inputs.filterbank import filter_banks

    paths = write_sounds(options.directory / "sounds", SMOKE_SOUNDS if options.smoke else SOUNDS)
    clips = [clip for path in paths for clip in read_clips(path)]
    waveforms = torch.cat(clips)
    preprocess = AudioPreprocess()
    work = [
        (
            f"filter banks of {len(paths)} x 3 clips",
            GOAL,
            lambda: torch.stack([filter_bank(clip) for clip in clips]),
            lambda: filter_banks(waveforms),
            "against torchaudio.compliance.kaldi.fbank, clip by clip",
        ),
        (
            f"{len(paths)} wav files to the audio tower's input",
            None,
            lambda: read_sounds(paths),
            lambda: preprocess.batch(paths).stack(),
            "files of 8 s at 16 kHz: reading, cutting, filter banks, normalizing",
        ),
    ]
    compared = []
    for name, goal, baseline, ours, note in work:
        found = ensure_equal(name, ours(), baseline())
        samples = in_turns(
            seconds(baseline), seconds(ours), options.count(USUAL_REPEATS), label=name, quiet=options.quiet
        )
        compared.append(Comparison(name, "s", *samples, found, goal, notes=[note]))
    return compared
