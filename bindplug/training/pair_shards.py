"""Pairs from webdataset shards: tars whose members of one name are one sample."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from bindplug.errors import InputError, WeightsNotFound
from bindplug.lazy import require
from bindplug.training.pair_folder import PICTURE_WORDS, still_or_video, tell_apart, words_of
from bindplug.training.pair_items import (
    PIXELS,
    VIDEOS,
    PairItem,
    PairList,
    PairProblem,
    suffixes_of,
)
from bindplug.training.pair_sources import ShardMember

MOST_TEXT_BYTES = 1 << 16
"""Of a class or caption beside a sample; longer ones are left out."""

COMPRESSED = (".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2")


def shard_files(source: str) -> list[Path]:
    """The tars that a text names: a tar, a folder, ``shard-{000..012}.tar``, ``*.tar``, or a list in a ``.txt``.

    Raises:
        InputError: a shard is compressed, or an address or a command; only local tars are read.
        WeightsNotFound: a shard is not there, or there is none.
        MissingDependency: webdataset is absent.
    """
    braceexpand = require("braceexpand", owner="reading shards", extra="webdataset")
    path = Path(source).expanduser()
    folder = Path()
    if path.is_dir():
        names = [str(file) for file in _tars_of(path)]
    elif path.suffix == ".txt" and path.is_file():
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        names, folder = (
            [line.strip() for line in lines if line.strip() and not line.startswith("#")],
            path.parent,
        )
    else:
        names = [source]
    files: list[Path] = []
    for name in names:
        if "://" in name or name.startswith("pipe:"):
            raise InputError(name, found="an address or a command", expected="shards on this machine")
        for expanded in braceexpand.braceexpand(name) if "{" in name else [name]:
            place = folder / Path(expanded).expanduser()
            is_pattern = any(character in place.name for character in "*?[")
            files += sorted(place.parent.glob(place.name)) if is_pattern else [place]
    for file in files:
        if file.name.endswith(COMPRESSED):
            raise InputError(
                str(file),
                found="a compressed tar, in which nothing can be found without unpacking it all",
                expected="an uncompressed .tar",
                remedy="Unpack the compression once (gunzip, unzstd)",
            )
        if not file.is_file():
            raise WeightsNotFound(f"there is no shard {str(file)!r} (from {str(Path.cwd())!r})")
    if not files:
        raise WeightsNotFound(f"{source} names no shard")
    return files


def read_shards(source: str, sense: str, columns: Mapping[str, str] | None = None) -> PairList:
    """Pairs of the shards that ``source`` names, as webdataset writes them.

    Members of one name are a sample: ``000012.jpg``, ``000012.wav``, and perhaps ``000012.cls`` and
    ``000012.txt``. Only the headers of a tar are read here; samples are read where they lie. Nothing is unpacked to
    disk, and no member is unpickled.

    Args:
        source: see :func:`shard_files`.
        sense: of the samples.
        columns: endings that are called otherwise, as ``{"image": "photo.png", "depth": "map.png"}``.

    Raises:
        InputError: a shard is compressed or damaged.
        WeightsNotFound: a shard is not there.
        MissingDependency: webdataset is absent.
    """
    pairs = PairList([], format="shards", source=source)
    for file in shard_files(source):
        for key, members in _samples(file, pairs):
            result = _pair(key, members, sense, columns or {})
            (pairs.items if isinstance(result, PairItem) else pairs.problems).append(result)  # type: ignore[arg-type]
    return pairs


def _samples(file: Path, pairs: PairList) -> Iterator[tuple[str, dict[str, ShardMember]]]:
    """Members of one name, by their endings without the first dot, in lower case; they need not lie side by side."""
    split_name = require("webdataset.tariterators", owner="reading shards", extra="webdataset").base_plus_ext
    by_key: dict[str, dict[str, ShardMember]] = {}
    doubled: dict[str, str] = {}
    try:
        with tarfile.open(file, "r:") as archive:
            for info in archive:
                if not info.isfile() or info.issparse():
                    if not info.isdir():
                        kind = f"{file}:{info.name}"
                        pairs.problems.append(
                            PairProblem(kind, "a link or a device, which is never followed")
                        )
                    continue
                base, ending = split_name(info.name)
                if base is None or PurePosixPath(base).name.startswith("."):
                    continue
                members = by_key.setdefault(base, {})
                if ending.lower() in members:
                    doubled.setdefault(base, ending.lower())
                members[ending.lower()] = ShardMember(str(file), info.name, info.offset_data, info.size)
    except (tarfile.TarError, OSError, ValueError) as error:
        if not by_key:
            raise InputError(
                str(file), found=f"no readable tar ({error})", expected="an uncompressed .tar"
            ) from error
        last = next(reversed(by_key))
        pairs.problems.append(PairProblem(str(file), f"the tar breaks off after {last} ({error})"))
    for key, members in by_key.items():
        if key in doubled:
            problem = f"two members {doubled[key]} of one name"
            pairs.problems.append(PairProblem(f"{file}:{key}", problem, "unpaired"))
        else:
            yield f"{file}:{key}", members


def _pair(
    key: str, members: Mapping[str, ShardMember], sense: str, columns: Mapping[str, str]
) -> PairItem | PairProblem:
    pictures, samples = _sides(members, sense, columns)
    names = ", ".join(sorted(members))
    for side, endings, role in (("pictures", pictures, "image"), (f"{sense} files", samples, sense)):
        if len(endings) > 1:
            problem = f"several {side} among its members {names}; say which with --column {role}=ENDING"
            return PairProblem(key, problem, "unpaired")
    is_video = bool(pictures) and _format(pictures[0]) in VIDEOS
    if is_video and not samples and sense == "audio" and sense not in columns:
        samples = pictures
    if not pictures or not samples:
        lacking = sense if pictures else "picture or video"
        return PairProblem(key, f"no {lacking} among its members {names}", "unpaired")
    return PairItem(
        members[pictures[0]],
        members[samples[0]],
        name=key,
        group=_text(members, "group") or key,
        is_video=is_video,
        label=_text(members, "cls"),
        caption=_text(members, "txt"),
    )


def _sides(
    members: Mapping[str, ShardMember], sense: str, columns: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Endings of the members that may be the picture, and of those that may be the sample; one each if it is clear."""
    picture_column, sample_column = columns.get("image") or columns.get("video"), columns.get(sense)
    words = words_of(sense)
    pictures = _fitting(members, picture_column, PICTURE_WORDS, words, PIXELS | VIDEOS)
    samples = _fitting(members, sample_column, words, PICTURE_WORDS, suffixes_of(sense))
    if picture_column is not None:
        samples = [ending for ending in samples if ending not in pictures]
    elif sample_column is not None:
        pictures = [ending for ending in pictures if ending not in samples]
    either = [ending for ending in pictures if ending in samples]
    if either:
        pictures = [name for name in pictures if name not in either]
        samples = [name for name in samples if name not in either]
        pictures, samples = tell_apart(pictures, samples, either)
    return still_or_video(pictures, sense), samples


def _fitting(
    members: Mapping[str, ShardMember],
    column: str | None,
    words: frozenset[str],
    others: frozenset[str],
    suffixes: frozenset[str],
) -> list[str]:
    """Endings that fit a role: as given, else those named for it, else plain ones of a fitting format, else all."""
    if column is not None:
        return [column.lower()] if column.lower() in members else []
    fitting = [
        ending
        for ending in members
        if _format(ending) in suffixes and not others & set(ending.split(".")[:-1])
    ]
    marked = [ending for ending in fitting if words & set(ending.split(".")[:-1])]
    return marked or [ending for ending in fitting if "." not in ending] or fitting


def _format(ending: str) -> str:
    return f".{ending.split('.')[-1]}"


def _text(members: Mapping[str, ShardMember], ending: str) -> str:
    """The text of a small member; of ``group`` and ``cls`` also a field of ``json``."""
    member = members.get(ending)
    if member is not None and member.size <= MOST_TEXT_BYTES:
        return _content(member).decode("utf-8", errors="replace").strip()
    described = members.get("json")
    if described is None or described.size > MOST_TEXT_BYTES:
        return ""
    try:
        content = json.loads(_content(described))
    except (ValueError, RecursionError):
        return ""
    field = {"cls": "label", "txt": "caption", "group": "group"}[ending]
    value = content.get(field) if isinstance(content, dict) else None
    return str(value) if isinstance(value, (str, int)) else ""


def _content(member: ShardMember) -> bytes:
    with member.open() as file:
        return file.read()


def _tars_of(folder: Path) -> list[Path]:
    """The tars of a folder, compressed ones included, which are then refused by name."""
    return sorted(file for file in folder.iterdir() if file.name.endswith((".tar", *COMPRESSED)))


def is_shards(source: str) -> bool:
    """Whether a text names shards by its ending or its pattern, or a folder that holds tars and nothing else of use."""
    path = Path(source).expanduser()
    if path.is_dir():
        return bool(_tars_of(path))
    return source.endswith((".tar", *COMPRESSED)) or (path.suffix == ".txt" and path.is_file())
