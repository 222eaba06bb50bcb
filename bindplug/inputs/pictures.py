"""Opens pictures of every kind and depth of bits, and refuses those that are damaged, incomplete or unsafe."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from bindplug.errors import InputError
from bindplug.inputs.bit_depth import as_stored, has_deep_channels, note_darkness, pgm_maxval
from bindplug.inputs.decoder_messages import decoder_messages
from bindplug.inputs.notes import note
from bindplug.inputs.optional import import_optional
from bindplug.inputs.other_formats import AVIF_BRANDS, describe_other
from bindplug.inputs.pillow_warnings import suppress_pillow_warnings
from bindplug.inputs.source import describe_source, open_source
from bindplug.inputs.tiff import check_pixels, check_strips, count_pages, describe_pixels, no_data_value

SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
ORIENTATION_TAG = 0x0112
MOVING_FORMATS = ("GIF", "WEBP", "PNG", "AVIF")
SUBFILE_TYPE_TAG, REDUCED = 254, 1
REFUSED_FORMATS = ("EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5")
"""EPS would be run by Ghostscript, WMF by Windows; Pillow identifies the others without decoding them."""
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
JPEG_FILL, JPEG_BLOCK = 128, 8
"""The grey that libjpeg puts where data is missing, and the rows of one block."""
CHANNELS_OF_16_BITS = {"RGB;16B": 3, "RGBA;16B": 4, "LA;16B": 2}
"""How Pillow's PNG plugin names rows of several 16-bit channels, and the number of channels."""


@dataclass(frozen=True)
class Raster:
    """The numbers that a picture file stores, upright and undiminished.

    Attributes:
        values: (H, W) or (H, W, 3); uint8, uint16, int32 or float32 as stored (palettes as RGB).
        valid: (H, W) bool, False where the file says that there is no data (transparent pixels, a PNG's
            transparent value, a TIFF's GDAL no-data value); None where it says nothing.
        mode: Pillow's name for the kind of pixels.
        form: Pillow's name for the file format, ``""`` if unknown.
    """

    values: np.ndarray
    valid: np.ndarray | None
    mode: str
    form: str

    def grey(self) -> np.ndarray | None:
        """The values as one plane (H, W), or None where channels differ."""
        if self.values.ndim == 2:
            return self.values
        first = self.values[..., :1]
        return self.values[..., 0] if (self.values == first).all() else None


def open_picture(source: object, expected: str) -> Image.Image:
    """A picture from a path, bytes or file object, its pixels decoded (a moving one: its first frame).

    Raises:
        InputError: the source is missing, empty, no picture, damaged, incomplete, or too large to be safe to decode.
        MissingDependency: it is HEIC, and pillow-heif is absent.
    """
    name = describe_source(source)
    with open_source(source, expected) as file, suppress_pillow_warnings():
        start = file.tell()
        picture = identify(file, name, expected)
        is_deep = has_deep_channels(picture)
        load_pixels(picture, name, expected)
        _check_rows(picture, file, start, name)
        _note_missing_rows(picture)
        _note_pages(picture, file, start)
        load_pixels(picture, name, expected)  # again, where frames were looked for
        if is_deep:
            extrema: Any = picture.getextrema()
            note_darkness(max(high for _, high in extrema[:3]), 255)
        if picture.format == "TIFF" and getattr(picture, "tag_v2", {}).get(SUBFILE_TYPE_TAG, 0) == REDUCED:
            note(
                f"a preview of {picture.width}x{picture.height} pixels, as raw camera files hold; develop it first"
            )
    return picture


def read_raster(source: object, expected: str, *, exif: bool = True) -> Raster:
    """The stored numbers of a picture file or PIL image, with all their bits.

    Args:
        source: a path, bytes, file object or PIL image.
        expected: what ought to be in it, for errors.
        exif: whether to turn it as its EXIF orientation says.

    Raises:
        InputError, MissingDependency: as :func:`open_picture`.
    """
    name = describe_source(source)
    if isinstance(source, Image.Image):
        refuse_programs(source, name, expected)
        maxval = pgm_maxval(source, name)
        load_pixels(source, name, expected)
        return _with_numbers(_raster_of(source, exif), maxval)
    with open_source(source, expected) as file, suppress_pillow_warnings():
        start = file.tell()
        picture = identify(file, name, expected)
        tiles = getattr(picture, "tile", None)
        rows = tiles[0][3] if picture.format == "PNG" and tiles else None
        if isinstance(rows, str) and rows in CHANNELS_OF_16_BITS:
            channels = _sixteen_bit_channels(file, start, rows, name, expected)
            _check_rows(picture, file, start, name, last_row=channels[-1])
            return _raster_of_channels(channels, picture, exif)
        maxval = pgm_maxval(picture, name)
        load_pixels(picture, name, expected)
        _check_rows(picture, file, start, name)
        _note_pages(picture, file, start)
        load_pixels(picture, name, expected)  # again, where frames were looked for
    return _with_numbers(_raster_of(picture, exif), maxval)


def _with_numbers(raster: Raster, maxval: int | None) -> Raster:
    return raster if maxval is None else replace(raster, values=as_stored(raster.values, maxval))


def load_pixels(picture: Image.Image, name: str, expected: str) -> None:
    """Decode ``picture`` now, while its file is open.

    Raises:
        InputError: the data is truncated or damaged.
    """
    by_libtiff = any(tile[0] == "libtiff" for tile in getattr(picture, "tile", None) or ())
    try:
        if not by_libtiff:
            picture.load()
            return
        with decoder_messages() as messages:
            picture.load()
    except Exception as error:  # decoders raise almost anything on damaged data
        reason = "; ".join([str(error), *messages[:1]]) if by_libtiff else str(error)
        detail = f"a damaged picture ({reason or type(error).__name__})"
        raise InputError(name, found=detail, expected=expected) from None


def refuse_programs(picture: Image.Image, name: str, expected: str) -> None:
    """Refuse a PIL image of a format that an outside program would have to decode.

    Raises:
        InputError: it is EPS or WMF.
    """
    if picture.format in REFUSED_FORMATS:
        remedy = "Export it as PNG."
        raise InputError(name, found=_program_text(picture.format), expected=expected, remedy=remedy)


def is_sixteen_bit(picture: Image.Image) -> bool:
    """Whether ``picture`` holds one channel of 16-bit (or 32-bit) integers."""
    return picture.mode in SIXTEEN_BIT_MODES or picture.mode == "I"


def upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """``values`` (H, W, ...) turned as an EXIF orientation (1 to 8) says; others leave it as it is."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def read_orientation(source: object) -> int:
    """The EXIF orientation of a JPEG file, 1 to 8; 1 where it tells none."""
    with open_source(source, "a picture") as file, suppress_pillow_warnings():
        try:
            return _orientation(Image.open(file, formats=["JPEG"]))
        except Exception:  # no JPEG, or damaged
            return 1


def identify(file: BinaryIO, name: str, expected: str) -> Image.Image:
    """The picture in ``file``, its header read and its pixels not yet decoded."""
    start = file.tell()
    head = file.read(32)
    file.seek(start)
    if head.startswith((b"%!PS", b"\xc5\xd0\xd3\xc6")):
        raise InputError(name, found=_program_text("EPS"), expected=expected, remedy="Export it as PNG.")
    try:
        if (
            head[4:8] == b"ftyp"
            and head[8:12] in HEIF_BRANDS
            and not any(b in head[16:] for b in AVIF_BRANDS)
        ):
            heif: Image.Image = import_optional("pillow_heif", "bindplug.inputs.image", "heif").HeifImageFile(
                file
            )
            return heif
        Image.init()
        picture = Image.open(file, formats=[form for form in Image.ID if form not in REFUSED_FORMATS])
        if picture.format == "TIFF":
            check_strips(picture, file, name)
            check_pixels(picture, name)
    except UnidentifiedImageError:
        detail, remedy = describe_other(head, describe_pixels(file, start))
        raise InputError(name, found=detail, expected=expected, remedy=remedy) from None
    except Image.DecompressionBombError as error:
        remedy = "Scale it down; or, if you trust it, raise PIL.Image.MAX_IMAGE_PIXELS."
        raise InputError(
            name, found=f"a picture too large to decode ({error})", expected=expected, remedy=remedy
        ) from None
    except (InputError, ImportError):
        raise
    except Exception as error:  # plugins raise almost anything on damaged headers
        detail = f"a damaged picture ({error or type(error).__name__})"
        raise InputError(name, found=detail, expected=expected) from None
    return picture


def _program_text(form: str | None) -> str:
    return f"{form} data, which is a program that only an outside interpreter can draw"


def _note_pages(picture: Image.Image, file: BinaryIO, start: int) -> None:
    """Note the pages of a TIFF after the first, and the frames of a moving picture that is read as a still one."""
    if picture.format == "TIFF":
        pages = count_pages(file, start)
        if pages > 1:
            note(f"the first of {pages} pages was read; pass the others as pictures of their own")
    elif picture.format in MOVING_FORMATS and getattr(picture, "is_animated", False):
        note("the first frame of a moving picture was read; as a video all of it is")


def _note_missing_rows(picture: Image.Image) -> None:
    """Note a JPEG that ends in rows of exactly mid-grey, which libjpeg puts where data is missing."""
    if picture.format != "JPEG" or picture.mode not in ("L", "RGB"):
        return
    row = np.asarray(picture.crop((0, picture.height - 1, picture.width, picture.height)))
    if not (row == JPEG_FILL).all():
        return
    others = (np.asarray(picture) != JPEG_FILL).reshape(picture.height, -1).any(axis=1)
    missing = picture.height - 1 - int(np.flatnonzero(others)[-1]) if others.any() else 0
    if missing >= JPEG_BLOCK:
        note(f"the last {missing} rows are mid-grey, as where a JPEG's data is missing")


def _check_rows(
    picture: Image.Image, file: BinaryIO, start: int, name: str, last_row: np.ndarray | None = None
) -> None:
    """Refuse a PNG that stores fewer rows than it declares, which Pillow fills with zeros."""
    if picture.format != "PNG" or picture.width == 0 or picture.height == 0:
        return
    if last_row is None:
        box = (0, picture.height - 1, picture.width, picture.height)
        last_row = np.asarray(picture.crop(box))
    if last_row.any():
        return
    file.seek(start)
    bytes_declared, bytes_stored = _png_bytes(file)
    if bytes_stored < bytes_declared:
        percent = 100 * bytes_stored // bytes_declared
        detail = f"a PNG that declares {picture.height} rows and stores {percent} % of them"
        raise InputError(name, found=detail, expected="a complete picture", remedy="Copy or export it again.")


def _png_bytes(file: BinaryIO) -> tuple[int, int]:
    """Bytes of filtered rows that a PNG's header declares, and that its data inflates to (at most as many)."""
    bytes_declared = bytes_stored = 0
    inflater = zlib.decompressobj()
    for kind, body in _png_chunks(file):
        if kind == b"IHDR":
            bytes_declared = _declared_png_bytes(body)
        elif kind == b"IDAT":
            try:
                bytes_stored += len(inflater.decompress(body))
            except zlib.error:
                return bytes_declared, bytes_stored
        if kind == b"IEND" or bytes_stored >= bytes_declared > 0:
            break
    return bytes_declared, bytes_stored


def _declared_png_bytes(header: bytes) -> int:
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[header[9]]
    passes = [(0, 0, 1, 1)]
    if header[12]:  # Adam7: first column, first row, step of columns, step of rows
        passes = [
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ]
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        total += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    return total


def _png_chunks(file: BinaryIO) -> Any:
    file.read(8)
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[:4], "big")
        yield head[4:], file.read(length)
        file.read(4)


def _sixteen_bit_channels(file: BinaryIO, start: int, rows: str, name: str, expected: str) -> np.ndarray:
    """(H, W, channels) uint16 of a PNG of several 16-bit channels, of which Pillow keeps the upper 8 bits.

    Its rows are decoded again under other names: one that keeps the lower bytes, and for grey with alpha one
    that takes both bytes of both channels for four channels.
    """

    def decode(raw: str) -> np.ndarray:
        file.seek(start)
        picture: Any = identify(file, name, expected)
        (tile,) = picture.tile
        changed = (*tile[:3], raw)
        picture.tile = [changed if type(tile) is tuple else type(tile)(*changed)]
        load_pixels(picture, name, expected)
        return np.asarray(picture).astype(np.uint16)

    if CHANNELS_OF_16_BITS[rows] == 2:
        four = decode("RGBA")  # (H, W, 4): both bytes of grey, both bytes of alpha
        return np.stack([four[..., 0] << 8 | four[..., 1], four[..., 2] << 8 | four[..., 3]], axis=-1)
    return decode(rows) << 8 | decode(rows.replace("16B", "16L"))


def _raster_of_channels(channels: np.ndarray, picture: Image.Image, exif: bool) -> Raster:
    pixels = upright(channels, _orientation(picture) if exif else 1)
    valid = pixels[..., -1] > 0 if pixels.shape[-1] in (2, 4) else None
    values = pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., 0]
    return Raster(values, valid, picture.mode, picture.format or "")


def _raster_of(picture: Image.Image, exif: bool) -> Raster:
    mode, form, valid = picture.mode, picture.format or "", None
    if mode in ("LA", "RGBA", "PA", "La", "RGBa"):
        layers = np.asarray(picture.convert("LA" if mode in ("LA", "La") else "RGBA"))
        values, valid = layers[..., :-1], layers[..., -1] > 0
        values = values[..., 0] if values.shape[-1] == 1 else values
    elif is_sixteen_bit(picture) or mode in ("F", "L", "RGB"):
        values = np.asarray(picture)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
    else:
        values = np.asarray(picture.convert("L" if mode == "1" else "RGB"))
    no_data = picture.info.get("transparency") if form == "PNG" else no_data_value(picture)
    if isinstance(no_data, (int, float)) and not isinstance(no_data, bool) and values.ndim == 2:
        valid = values != no_data
    orientation = _orientation(picture) if exif else 1
    return Raster(
        upright(values, orientation), None if valid is None else upright(valid, orientation), mode, form
    )


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF: the picture stays as it is
        return 1
