"""The pictures' side of pairs: rows of the frozen image tower, computed once and kept, or anew from each crop."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bindplug.encoder import Encoder
from bindplug.errors import InputError
from bindplug.hub import home
from bindplug.inputs.base import ModelInput, shape_of, stack_items
from bindplug.training.pair_items import PairItem, PairProblem
from bindplug.training.pair_samples import read_all, read_picture

BATCH = 32
"""Pictures in one pass of the image tower."""

AUGMENTATIONS = ("none", "basic", "strong")
"""Of pictures: none; crops and flips; these and changes of brightness and contrast."""

SMALLEST_CROP = 0.35
"""Share of a picture's area that a crop has at least."""

ASPECTS = (3 / 4, 4 / 3)
"""Range of a crop's width over height. Source: random resized crops of Inception (arXiv 1409.4842)."""

JITTER = 0.4
"""By how much brightness and contrast change at most. Source: ImageBind (arXiv 2305.05665), appendix B.1."""

EQUAL_ROWS = 1e-4
"""Pictures whose rows differ by less are the same to the tower."""


class RowCache:
    """Rows of pictures on disk, by what was embedded and by whom; several processes may use one.

    Args:
        file: an SQLite file, made if absent.
        model: what stands for the weights, such as the text of their fingerprint.
    """

    def __init__(self, file: Path, model: str) -> None:
        self.file, self.model = file, hashlib.sha256(model.encode()).hexdigest()
        file.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as database:
            database.execute("CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, row BLOB NOT NULL)")

    def key(self, item: PairItem) -> str:
        """What a pair's picture is kept under."""
        text = f"{self.model}|{item.anchor.identity}|{item.moment_s if item.is_video else ''}"
        return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()

    def read_into(self, table: np.ndarray, keys: Sequence[str]) -> set[int]:
        """Fill the rows of ``table``, (N, D), that are there under ``keys``; which these are."""
        present: set[int] = set()
        number_of = {key: number for number, key in enumerate(keys)}
        with self._open() as database:
            for start in range(0, len(keys), 500):
                part = keys[start : start + 500]
                places = ",".join("?" * len(part))
                # the places are question marks only
                for key, content in database.execute(
                    f"SELECT key, row FROM rows WHERE key IN ({places})", part
                ):
                    row = np.frombuffer(content, dtype="<f4")
                    if row.shape == table.shape[1:] and np.isfinite(row).all():
                        table[number_of[key]] = row
                        present.add(number_of[key])
        return present

    def write(self, rows: Mapping[str, np.ndarray]) -> None:
        """Keep rows."""
        values = [(key, np.ascontiguousarray(row, dtype="<f4").tobytes()) for key, row in rows.items()]
        with self._open() as database:
            database.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?)", values)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The database, committed at the end of the block.

        Raises:
            InputError: it is damaged, or cannot be opened or written.
        """
        try:
            with closing(sqlite3.connect(self.file, timeout=60)) as database, database:
                yield database
        except sqlite3.Error as error:
            remedy = "It only saves time: delete it"
            raise InputError(
                str(self.file), found=str(error), expected="rows of pictures", remedy=remedy
            ) from error


def default_row_cache() -> Path:
    """Where rows of pictures are kept by default: beside the weights that bindplug downloads."""
    return home() / "anchors" / "rows.sqlite"


def ensure_sees(anchor: Encoder) -> None:
    """Return if an anchor embeds pictures.

    Raises:
        InputError: it has no image tower.
    """
    if "image" not in anchor.modalities:
        raise InputError(
            f"the anchor {anchor.embedding_space.name}",
            found=f"a model of {', '.join(anchor.modalities)}",
            expected="a model that embeds pictures",
            remedy="Any CLIP will do, as open_clip:ViT-B-16:laion2b_s34b_b88k; `bindplug models` lists models",
        )


def embed_anchors(
    items: Sequence[PairItem],
    anchor: Encoder,
    *,
    cache: RowCache | None = None,
    batch_size: int = BATCH,
    workers: int | None = None,
    quiet: bool | None = None,
    strict: bool = False,
) -> tuple[list[int], list[PairProblem], np.ndarray]:
    """Embed the picture of every pair, each picture once.

    Args:
        items: the pairs.
        anchor: whose image tower embeds them.
        cache: of rows of earlier runs; none is used for None.
        batch_size: pictures in one pass.
        workers: threads that read.
        quiet: True shows no progress.
        strict: stop at the first picture that cannot be read.

    Returns:
        Places of the good pairs, problems of the others, and the rows of the good pairs, (N, D) float32 of unit
        length.

    Raises:
        InputError: ``strict`` and a picture cannot be read, or the anchor embeds no pictures.
    """
    ensure_sees(anchor)
    width = anchor.embedding_space.width
    distinct: dict[tuple[str, float | None], int] = {}
    places = [
        distinct.setdefault((item.anchor.name, item.moment_s if item.is_video else None), index)
        for index, item in enumerate(items)
    ]
    firsts = sorted(set(distinct.values()))
    number_of = {place: number for number, place in enumerate(firsts)}
    table = np.zeros((len(firsts), width), dtype=np.float32)  # a row for each different picture
    keys = [cache.key(items[place]) for place in firsts] if cache else []
    embedded = cache.read_into(table, keys) if cache else set()
    missing = [place for place in firsts if number_of[place] not in embedded]
    problems: dict[int, PairProblem] = {}
    pending: list[tuple[int, ModelInput]] = []

    def embed() -> None:
        if not pending:
            return
        numbers = [number for number, _ in pending]
        table[numbers] = encode_pictures(anchor, [picture for _, picture in pending]).numpy()
        embedded.update(numbers)
        if cache:
            cache.write({keys[number]: table[number] for number in numbers})
        pending.clear()

    reader = anchor.preprocess["image"]
    chosen = [items[place] for place in missing]
    results = read_all(
        chosen,
        lambda item: read_picture(item, reader),
        source_of=lambda item: item.anchor,
        label="embedding pictures",
        workers=workers,
        quiet=quiet,
        strict=strict,
    )
    for index, picture in results:
        if isinstance(picture, PairProblem):
            problems[missing[index]] = picture
            continue
        pending.append((number_of[missing[index]], picture))
        if len(pending) == batch_size:
            embed()
    embed()
    good = [index for index, place in enumerate(places) if number_of[place] in embedded]
    bad = [problems[place] for place in firsts if place in problems]
    return good, bad, table[[number_of[places[index]] for index in good]]


@torch.inference_mode()
def encode_pictures(anchor: Encoder, pictures: Sequence[ModelInput]) -> Tensor:
    """(B, D) float32 rows of unit length, on the CPU, of what the anchor's reader made.

    Pictures of different shapes go through the tower one by one.
    """
    if len({shape_of(picture) for picture in pictures}) > 1:
        return torch.cat([encode_pictures(anchor, [picture]) for picture in pictures])

    def moved(part: Tensor) -> Tensor:
        return part.to(anchor.device, anchor.dtype) if part.is_floating_point() else part.to(anchor.device)

    batch = stack_items(pictures)
    inputs: Any = (
        moved(batch) if isinstance(batch, Tensor) else {name: moved(part) for name, part in batch.items()}
    )
    rows = anchor.encode("image", inputs, normalize=True).float().cpu()
    if not bool(rows.isfinite().all()):
        raise InputError(
            f"the anchor {anchor.embedding_space.name}",
            found="rows of NaN or infinity",
            expected="finite rows",
        )
    return rows.clone()


def ensure_different(rows: np.ndarray, source: str) -> None:
    """Return if pictures differ to the anchor.

    Raises:
        InputError: all rows are equal, so that no pair can be told from another and nothing can be learned.
    """
    if len(rows) > 1 and float(np.abs(rows - rows[0]).max()) < EQUAL_ROWS:
        raise InputError(
            source,
            found=f"{len(rows)} pairs whose pictures are all the same to the anchor",
            expected="pictures that differ: contrast between them is all that is learned from",
        )


class PictureCrops:
    """Random crops, flips and changes of light of square model inputs, repeatable by their generator.

    Args:
        kind: one of :data:`AUGMENTATIONS`.
    """

    def __init__(self, kind: str) -> None:
        if kind not in AUGMENTATIONS:
            raise InputError("augmentation", found=repr(kind), expected=f"one of {', '.join(AUGMENTATIONS)}")
        self.kind = kind

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, 7): left, top, width and height of crops as shares of the side; flip; brightness; contrast."""
        chance = torch.rand(count, 7, generator=generator)
        area = SMALLEST_CROP + (1 - SMALLEST_CROP) * chance[:, 0]
        low, high = (torch.tensor(aspect).log() for aspect in ASPECTS)
        aspect = (low + (high - low) * chance[:, 1]).exp()
        width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
        light = 1 + JITTER * (2 * chance[:, 5:] - 1)
        return torch.stack(
            (
                chance[:, 2] * (1 - width),
                chance[:, 3] * (1 - height),
                width,
                height,
                (chance[:, 4] < 0.5).float(),
                *light.unbind(1),
            ),
            dim=1,
        )

    def apply(self, picture: Tensor, draw: Tensor, *, light: bool) -> Tensor:
        """The crop of one picture (C, H, W), in the picture's own size.

        Args:
            picture: model input.
            draw: a row of :meth:`draw`.
            light: whether brightness and contrast change too; maps of measurements keep theirs.
        """
        if self.kind == "none":
            return picture
        left, top, width, height, flip, brightness, contrast = draw.tolist()
        rows, columns = picture.shape[-2:]
        y, x = int(top * rows), int(left * columns)
        h, w = max(1, round(height * rows)), max(1, round(width * columns))
        crop = picture[:, y : y + h, x : x + w]
        crop = F.interpolate(crop[None], size=(rows, columns), mode="bilinear", align_corners=False)[0]
        if flip:
            crop = crop.flip(-1)
        if light and self.kind == "strong":
            mean = crop.mean()
            crop = (crop - mean) * contrast + mean * brightness
        return crop
