"""AudioCaps: segments of AudioSet with captions, five each in the test set."""

from __future__ import annotations

from bindplug.errors import InputError
from bindplug.query import Query, audio
from bindplug_lab.datasets.annotations import read_csv
from bindplug_lab.datasets.captions import Candidate, captioned_items
from bindplug_lab.datasets.folder import DataFolder
from bindplug_lab.datasets.labels import check_choice
from bindplug_lab.datasets.suffixes import SOUND_SUFFIXES
from bindplug_lab.datasets.youtube import index_folder, segment_file
from bindplug_lab.tasks.items import PairedItems

__all__ = ["read_audiocaps"]

SEGMENT_SECONDS = 10.0


def read_audiocaps(folder: DataFolder, *, split: str = "test") -> PairedItems:
    """Captions on the left, sounds on the right; the rows of one segment are captions of one sound.

    Layout: ``dataset/test.csv`` or ``test.csv`` (audiocap_id, youtube_id, start_time, caption; a row for each caption),
    and sounds in ``audio/test/``, ``test/`` or ``audio/``, named by the youtube_id as downloaders have it: see
    :func:`bindplug_lab.datasets.youtube.segment_file`.

    Args:
        folder: the data set.
        split: ``"test"``, ``"val"`` or ``"train"``.

    Raises:
        MissingData: the table or sounds are missing; videos vanish from YouTube, so most copies lack some.
        InputError: the table is damaged, a caption is blank, or an audiocap_id stands twice.
    """
    check_choice("split", split, ("test", "val", "train"))
    table = folder.find(
        *(f"{base}{split}.csv" for base in ("dataset/", "", "csv_files_v1/", "csv_files/", "csv/"))
    )
    index = index_folder(folder, f"audio/{split}", split, "audio", suffixes=SOUND_SUFFIXES)
    captions: dict[tuple[str, float], list[str]] = {}
    numbers: set[str] = set()
    for row in read_csv(table, ("audiocap_id", "youtube_id", "start_time", "caption")):
        if row.text("audiocap_id") in numbers:
            raise InputError(
                row.place, found=f"audiocap_id {row['audiocap_id']} twice", expected="each id once"
            )
        numbers.add(row["audiocap_id"])
        key = (row.text("youtube_id"), row.seconds("start_time"))
        captions.setdefault(key, []).append(row.text("caption"))
    candidates = [
        Candidate(
            f"{video}_{start:g}", segment_file(index, video, start, start + SEGMENT_SECONDS), tuple(sentences)
        )
        for (video, start), sentences in captions.items()
    ]
    return captioned_items(folder, candidates, _sound, "sounds", "audio")


def _sound(candidate: Candidate) -> Query:
    return audio(candidate.path)
