"""Opening sound: libsndfile for sound files, PyAV for whatever it does not open.

:func:`open_sound` gives random access, so that the clips of a long recording are read without the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy as np

from bindplug.errors import InputError
from bindplug.inputs.containers import has_av
from bindplug.inputs.cut_files import is_chained_ogg, size_remarks
from bindplug.inputs.decoder_messages import decoder_messages
from bindplug.inputs.flacs import joined_flacs
from bindplug.inputs.limits import MOST_CHANNELS, MOST_SAMPLES, check_limit
from bindplug.inputs.mp3s import after_id3, joined_mp3s, xing_size
from bindplug.inputs.notes import caught_remarks, note
from bindplug.inputs.optional import import_optional
from bindplug.inputs.shared import SharedSources
from bindplug.inputs.sounds import EXPECTED, SamplesInMemory, Sound, one_rate
from bindplug.inputs.source import FileView, describe_source, open_source
from bindplug.inputs.tracks import open_track

BLOCK_SAMPLES = 1 << 20
NOTABLE_LOSS_S = 0.1
UNKNOWN_FRAMES = 1 << 62
"""libsndfile's number of frames where a file that was written to a pipe does not state its length is above this."""


class _SoundFile(Sound):
    """A file that libsndfile decodes.

    Args:
        file: open in soundfile.
        name: what errors call the source.
        view: opens the data anew for another decoder.
    """

    def __init__(self, file: Any, name: str, view: Callable[[], FileView]) -> None:
        self.file, self.name, self.view = file, name, view
        self.chatty = file.format == "MP3"
        self.rate_hz, self.channels, self.length = int(file.samplerate), int(file.channels), int(file.frames)
        self.rest: Sound | None = None

    def read(self, start: int, stop: int) -> np.ndarray:
        if self.rest is not None:
            return self.rest.read(start, stop)
        if not self.chatty:
            return self._read(start, stop)
        with decoder_messages() as messages:
            samples = self._read(start, stop)
        faults = [line for line in messages if "error" in line]
        if faults:
            note(f"its decoder reported {len(faults)} errors, the first: {faults[0]}")
        return samples

    def _read(self, start: int, stop: int) -> np.ndarray:
        if self.file.tell() != start:
            self.file.seek(start)
        first = start
        blocks = [np.zeros((0, self.channels), np.float32)]
        while start < stop:  # by blocks: a damaged header may claim any length
            block = np.zeros((min(BLOCK_SAMPLES, stop - start), self.channels), np.float32)
            try:
                count = len(self.file.read(out=block))
            except RuntimeError:  # soundfile's error; what was decoded before stands in the block
                count = max(0, self.file.tell() - start)
                self._pass_over_damage(start + count)
                if self.rest is not None:
                    return self.rest.read(first, stop)
                blocks.append(block[:count])
                break
            if not count:
                self._end_early(start)
                break
            blocks.append(block[:count])
            start += count
        return np.concatenate(blocks).T

    def _end_early(self, length: int) -> None:
        """Remember that the data ends at ``length`` samples, before its stated end: damaged frames are left out."""
        if self.length - length > NOTABLE_LOSS_S * self.rate_hz:
            stated_s = self.length / self.rate_hz
            remark = f"{length / self.rate_hz:.2f} of {stated_s:.2f} s could be decoded; the rest is damaged or missing"
            self.remarks = (*self.remarks, remark)
            self.length = length

    def _pass_over_damage(self, length: int) -> None:
        """Decode anew by PyAV, which reads on after damaged places; without it, end at ``length`` samples.

        Raises:
            InputError: nothing can be decoded.
        """
        rest = self._by_pyav()
        if rest is not None and rest.length > length:
            self.rest = rest
            remark = (
                f"damaged places were passed over: {rest.length / self.rate_hz:.2f} of "
                f"{self.length / self.rate_hz:.2f} s could be decoded"
            )
            self.length = rest.length
        elif length > 0:
            remark = (
                f"decoding ends early, at {length / self.rate_hz:.2f} of {self.length / self.rate_hz:.2f} s; what "
                "came before was read"
            )
            self.length = length
            soundfile = import_optional("soundfile", "bindplug.inputs.audio", "audio")
            self.file = soundfile.SoundFile(self.view())  # after an error nothing can be sought
        else:
            remedy = "If it plays elsewhere, write it anew: ffmpeg -i FILE new.wav."
            problem = f"damaged {self.file.format} data, of which nothing could be decoded"
            raise InputError(self.name, found=problem, expected=EXPECTED, remedy=remedy) from None
        self.remarks = (*self.remarks, remark)

    def _by_pyav(self) -> Sound | None:
        if not has_av() or self.length * self.channels > MOST_SAMPLES:
            return None
        try:
            with caught_remarks(), open_track(self.view(), self.name, "damaged.", whole=True) as track:  # type: ignore[arg-type]
                return track if (track.rate_hz, track.channels) == (self.rate_hz, self.channels) else None
        except InputError:
            return None


def read_sound(source: object) -> tuple[np.ndarray, int]:
    """All samples of a sound, (channels, samples) float32 with full scale 1, and the rate in Hz.

    Args:
        source: a path, bytes or file object.

    Raises:
        InputError: as :func:`open_sound`, or it holds more than 2^29 samples.
        MissingDependency: soundfile is absent.
    """
    with open_sound(source) as sound:
        count = sound.length * sound.channels
        check_limit(describe_source(source), count, MOST_SAMPLES, "samples at once", "Read parts of it.")
        samples = sound.read(0, sound.length)
        for remark in sound.remarks:
            note(remark)
        return samples, sound.rate_hz


@contextmanager
def open_sound(source: object) -> Iterator[Sound]:
    """Open a sound for random access.

    Args:
        source: a path, bytes or file object of any format that libsndfile or, where it is installed, PyAV reads.

    Raises:
        InputError: it is missing, empty, no sound, damaged, or a video without a sound track.
        MissingDependency: soundfile is absent.
    """
    name = describe_source(source)
    import_optional("soundfile", "bindplug.inputs.audio", "audio")
    with open_source(source, EXPECTED) as file, _opened(file, name) as sound:
        yield sound


@contextmanager
def _opened(file: BinaryIO, name: str) -> Iterator[Sound]:
    """The sound from where ``file`` stands; ``name`` is what errors call the source."""
    soundfile = import_optional("soundfile", "bindplug.inputs.audio", "audio")
    start = file.tell()
    sound_file, reason = None, ""
    with decoder_messages():
        try:
            sound_file = soundfile.SoundFile(FileView(file))
        except (soundfile.LibsndfileError, ValueError, OverflowError, TypeError) as error:
            reason = str(error).rsplit(": ", 1)[-1]
    better = "" if sound_file is None else _better_by_pyav(sound_file, file, start)
    if better and has_av():
        sound_file, reason = None, better
    if sound_file is None:
        file.seek(start)
        with open_track(file, name, reason, whole=better == CHAINED) as track:
            yield track
        return
    with sound_file:
        with caught_remarks() as remarks:
            sound = _sound_of(sound_file, file, start, name)
        if better == CHAINED:
            remarks.append('the first of several sounds was read; pip install "bindplug[video]" reads all')
        sound.remarks = (*remarks, *size_remarks(file, start))
        yield sound


CHAINED = "several sounds in a row."


def _better_by_pyav(sound_file: Any, file: BinaryIO, start: int) -> str:
    """Why PyAV reads this sound better than libsndfile; empty if it does not."""
    form = sound_file.format
    if sound_file.frames == 0 and form == "WAV":
        return "zero samples."  # a header that was written before its data
    if form == "MP3" and not xing_size(file, after_id3(file, start)):
        return "no stated length."  # libsndfile guesses one from the first bit rates, and ends there
    if form == "OGG" and is_chained_ogg(file, start):
        return CHAINED
    if sound_file.frames > UNKNOWN_FRAMES and not joined_flacs(file, start):
        return "no stated length."
    return "" if sound_file.seekable() else "no place in it can be sought."


def _sound_of(sound_file: Any, file: BinaryIO, start: int, name: str) -> Sound:
    check_limit(name, sound_file.channels, MOST_CHANNELS, "channels")
    if sound_file.format == "FLAC" and (parts := joined_flacs(file, start)):
        return _joined(parts, name)
    if sound_file.format == "MP3":
        if tails := joined_mp3s(file, start):
            return _joined([FileView(file, start, tails[0].start), *tails], name)
        first = after_id3(file, start)
        stored, declared = file.seek(0, os.SEEK_END) - first, xing_size(file, first)
        if stored < declared:
            note(
                f"the file holds {stored / declared:.1%} of the data that its header declares; what is there was read"
            )
    return _SoundFile(sound_file, name, lambda: FileView(file, start))


def _joined(parts: list[FileView], name: str) -> Sound:
    """Sounds that follow one another in a file, as one; it ends before the first that cannot be read."""
    runs: list[tuple[np.ndarray, int]] = []
    for part in parts:
        try:
            with _opened(cast(BinaryIO, part), name) as sound:
                check_limit(name, sound.length * sound.channels, MOST_SAMPLES, "samples at once", "Split it.")
                runs.append((sound.read(0, sound.length), sound.rate_hz))
                for remark in sound.remarks:
                    note(remark)
        except InputError as error:
            if not runs:
                raise
            seconds = sum(run.shape[1] / rate for run, rate in runs)
            note(f"sound after {seconds:.1f} s could not be read ({error.found})")
            break
    return SamplesInMemory(*one_rate(runs, name))


shared_sounds = SharedSources(open_sound)
"""Sounds that stay open between the windows read from them."""
