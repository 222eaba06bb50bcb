"""MSR-VTT: videos of 10 to 30 s with captions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from bindplug.errors import InputError, OptionError
from bindplug.query import Query, audio, video
from bindplug_lab.datasets.annotations import read_csv, read_json
from bindplug_lab.datasets.captions import Candidate, captioned_items
from bindplug_lab.datasets.folder import DataFolder, FileIndex, is_file
from bindplug_lab.datasets.labels import check_choice
from bindplug_lab.datasets.suffixes import VIDEO_SUFFIXES
from bindplug_lab.tasks.items import PairedItems

__all__ = ["read_msrvtt"]

BASES = ("", "annotation/", "annotations/", "msrvtt_data/", "test_annotation/")
SENSES = {"video": video, "audio": audio}


def read_msrvtt(
    folder: DataFolder, *, split: str = "1k-A", weights: Mapping[str, float] | None = None
) -> PairedItems:
    """Captions on the left, videos on the right.

    Layout: for ``1k-A`` the table ``MSRVTT_JSFUSION_test.csv`` (key, vid_key, video_id, sentence), one caption for each
    of 1,000 videos; for ``test`` the JSON ``test_videodatainfo.json`` or ``MSRVTT_data.json`` with ``videos`` and
    ``sentences``, about 20 captions for each of 2,990 videos. Videos are ``video7010.mp4`` anywhere in the folder.

    Args:
        folder: the data set.
        split: ``"1k-A"`` or ``"test"``.
        weights: of ``video`` and ``audio`` (the sound track) in the candidates; ``{"video": 1.0}`` by default.

    Raises:
        MissingData: annotations or videos are missing.
        InputError: annotations are damaged or list a video twice.
        OptionError: a weight is not a positive number of one of the two.
    """
    check_choice("split", split, ("1k-A", "test"))
    weights = {"video": 1.0} if weights is None else dict(weights)
    for name, weight in weights.items():
        check_choice("weights", name, tuple(SENSES))
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < float("inf"):
            raise OptionError(f"weights.{name} = {weight!r}; expected a positive number")
    if not weights:
        raise OptionError("weights = {}; expected video, audio or both")
    captions = _captions_of_table(folder) if split == "1k-A" else _captions_of_json(folder)
    index = FileIndex(folder.base, VIDEO_SUFFIXES)
    candidates = []
    for name, sentences in captions.items():
        path = index.get(name)
        candidates.append(
            Candidate(name, path if path is not None and is_file(path) else None, tuple(sentences))
        )
    return captioned_items(folder, candidates, partial(_candidate, weights), "videos", "+".join(weights))


def _captions_of_table(folder: DataFolder) -> dict[str, list[str]]:
    table = folder.find(*(f"{base}MSRVTT_JSFUSION_test.csv" for base in BASES))
    captions: dict[str, list[str]] = {}
    for row in read_csv(table, ("video_id", "sentence")):
        if row.text("video_id") in captions:
            raise InputError(
                row.place, found=f"{row['video_id']!r} twice", expected="a caption for each video"
            )
        captions[row["video_id"]] = [row.text("sentence")]
    return captions


def _captions_of_json(folder: DataFolder) -> dict[str, list[str]]:
    names = ("test_videodatainfo.json", "MSRVTT_data.json", "MSR_VTT.json")
    path = folder.find(*(f"{base}{name}" for name in names for base in BASES))
    content = read_json(path)
    try:
        splits = {entry["video_id"]: entry.get("split", "test") for entry in content["videos"]}
        captions: dict[str, list[str]] = {name: [] for name, split in splits.items() if split == "test"}
        for entry in content["sentences"]:
            if entry["video_id"] not in splits:
                found = f"a sentence of {entry['video_id']!r}, which is no video"
                raise InputError(str(path), found=found, expected="sentences of its videos")
            if entry["video_id"] in captions and str(entry["caption"]).strip():
                captions[entry["video_id"]].append(str(entry["caption"]).strip())
    except (TypeError, KeyError, AttributeError) as error:
        expected = "videos with video_id and split, and sentences with video_id and caption"
        raise InputError(str(path), found=f"other fields ({error!r})", expected=expected) from None
    if len(splits) < len(content["videos"]):
        raise InputError(str(path), found="a video_id twice", expected="each video once")
    return captions


def _candidate(weights: Mapping[str, float], candidate: Candidate) -> Query:
    terms = [weight * SENSES[name](candidate.path) for name, weight in weights.items()]
    return sum(terms[1:], terms[0])
