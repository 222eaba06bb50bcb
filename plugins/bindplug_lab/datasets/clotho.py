"""Clotho: sounds of 15 to 30 s with five captions each."""

from __future__ import annotations

from bindplug.query import Query, audio
from bindplug_lab.datasets.annotations import read_csv
from bindplug_lab.datasets.captions import Candidate, captioned_items
from bindplug_lab.datasets.folder import DataFolder, FileIndex, is_file
from bindplug_lab.datasets.labels import check_choice
from bindplug_lab.datasets.suffixes import AUDIO_SUFFIXES
from bindplug_lab.tasks.items import PairedItems

__all__ = ["read_clotho"]

CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))
SPLITS = ("evaluation", "validation", "development")


def read_clotho(folder: DataFolder, *, split: str = "evaluation") -> PairedItems:
    """Captions on the left, sounds on the right.

    Layout: ``clotho_captions_evaluation.csv`` (file_name, caption_1 to caption_5) beside ``evaluation/``, which the
    archive of sounds may have in ``clotho_audio_evaluation/``. Some names have blanks at their ends in one place and
    not in the other.

    Args:
        folder: the data set.
        split: ``"evaluation"``, ``"validation"`` or ``"development"``.

    Raises:
        MissingData: the table or sounds are missing.
        InputError: the table is damaged or a caption is blank.
    """
    check_choice("split", split, SPLITS)
    table = folder.find(
        *(f"{base}clotho_captions_{split}.csv" for base in ("", "captions/", "clotho_csv_files/", "csv/"))
    )
    sounds = folder.find(
        f"clotho_audio_{split}/{split}/", f"clotho_audio_{split}/", f"{split}/", what="the sounds"
    )
    index = FileIndex(sounds, AUDIO_SUFFIXES)
    candidates = []
    for row in read_csv(table, ("file_name", *CAPTIONS)):
        name = row.text("file_name")
        path = index.get(name.rpartition(".")[0].strip() or name)
        captions = tuple(row.text(column) for column in CAPTIONS)
        candidates.append(Candidate(name, path if path is not None and is_file(path) else None, captions))
    return captioned_items(folder, candidates, _sound, "sounds", "audio")


def _sound(candidate: Candidate) -> Query:
    return audio(candidate.path)
