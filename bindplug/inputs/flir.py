"""Reads the temperatures that FLIR cameras keep in their JPEGs, beside the picture in false colors.

A radiometric JPEG holds an "FFF" file, cut into APP1 segments: a directory of records, among them the sensor's raw
counts and the camera's calibration. The layout is that which ExifTool's documentation of FLIR tags describes; the
conversion is the measurement formula of FLIR's user manuals.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image

from bindplug.errors import InputError
from bindplug.inputs.limits import MOST_PIXELS, check_limit
from bindplug.inputs.source import describe_source, open_source, peek, read_whole

JPEG_MAGIC, FFF_MAGICS, PNG_MAGIC = b"\xff\xd8\xff", (b"FFF\x00", b"AFF\x00"), b"\x89PNG\r\n\x1a\n"
APP1, APP3, SEGMENT_HEAD = 0xE1, 0xE3, b"FLIR\x00"
RAW_DATA, CAMERA_INFO = 1, 32
DIRECTORY_ENTRY = 32
RAW_HEADER = 32
EXPECTED = "a radiometric FLIR JPEG"
ZERO_CELSIUS_K = 273.15
LARGEST_DJI_HEAD = 1 << 16


@dataclass(frozen=True)
class Calibration:
    """What turns a sensor's raw counts S into temperatures.

    Attributes:
        r1, r2, b, f, o: Planck constants of the camera: a black body of T kelvin gives
            S = r1 / (r2 * (exp(b / T) - f)) - o.
        emissivity: of the object, above 0 and at most 1.
        reflected_k, atmosphere_k, window_k: temperatures in kelvin.
        window_transmission: of the lens or window in front, above 0 and at most 1.
        distance_m: to the object.
        humidity: of the air, 0 to 1.
        alpha1, alpha2, beta1, beta2, x: constants of the air's transmission.
    """

    r1: float
    r2: float
    b: float
    f: float
    o: float
    emissivity: float = 1.0
    reflected_k: float = 293.15
    atmosphere_k: float = 293.15
    window_k: float = 293.15
    window_transmission: float = 1.0
    distance_m: float = 0.0
    humidity: float = 0.5
    alpha1: float = 0.006569
    alpha2: float = 0.01262
    beta1: float = -0.002276
    beta2: float = -0.00667
    x: float = 1.9

    def counts(self, kelvin: float) -> float:
        """Raw counts of a black body."""
        return self.r1 / (self.r2 * (math.exp(self.b / kelvin) - self.f)) - self.o

    def transmission(self) -> float:
        """Part of the radiation that passes the air between object and camera, 0 to 1."""
        celsius = self.atmosphere_k - ZERO_CELSIUS_K
        water = self.humidity * math.exp(
            1.5587 + 0.06939 * celsius - 0.00027816 * celsius**2 + 0.00000068455 * celsius**3
        )
        root, path = math.sqrt(max(water, 0.0)), math.sqrt(max(self.distance_m, 0.0))
        thin = self.x * math.exp(-path * (self.alpha1 + self.beta1 * root))
        return thin + (1 - self.x) * math.exp(-path * (self.alpha2 + self.beta2 * root))

    def celsius(self, raw: np.ndarray) -> np.ndarray:
        """Temperatures of the object in degrees Celsius, float32, NaN where the counts are of no temperature.

        The camera sees the object's own radiation, what it reflects, the air's and the window's:
        S = w (e t S_object + (1 - e) t S_reflected + (1 - t) S_air) + (1 - w) S_window.
        """
        e, t, w = self.emissivity, self.transmission(), self.window_transmission
        window = (1 - w) * self.counts(self.window_k) if w < 1 else 0.0
        received = (raw.astype(np.float64) - window) / w
        own = (
            received - (1 - e) * t * self.counts(self.reflected_k) - (1 - t) * self.counts(self.atmosphere_k)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            kelvin = self.b / np.log(self.r1 / (self.r2 * (own / (e * t) + self.o)) + self.f)
        kelvin = np.where(kelvin > 0, kelvin, np.nan)
        return (kelvin - ZERO_CELSIUS_K).astype(np.float32)


def read_radiometric(source: object) -> np.ndarray | None:
    """Temperatures of a FLIR JPEG or FFF file in degrees Celsius, (H, W) float32; None if ``source`` has none.

    Args:
        source: a path, bytes or file object of any kind of data.

    Raises:
        InputError: it holds FLIR's records, but damaged ones.
    """
    head = peek(source, 4)
    if not head.startswith((JPEG_MAGIC, *FFF_MAGICS)):
        return None
    name = describe_source(source)
    with open_source(source, EXPECTED) as file:
        data = read_whole(file, name) if head.startswith(FFF_MAGICS) else _joined_segments(file, name)
    if not data:
        return None
    try:
        records = _records(data)
        if RAW_DATA not in records:
            return None
        raw = _raw_counts(*records[RAW_DATA], name)
        if CAMERA_INFO not in records:
            raise ValueError("no calibration of the camera")
        calibration = _calibration(records[CAMERA_INFO][1])
    except InputError:
        raise
    except Exception as error:  # struct.error, ValueError, Pillow's errors
        detail = f"a FLIR record that cannot be read ({error})"
        raise InputError(name, found=detail, expected=EXPECTED) from None
    return calibration.celsius(raw)


def is_dji_radiometric(source: object) -> bool:
    """Whether ``source`` is a JPEG with DJI's raw thermal data, whose format DJI does not document."""
    if not peek(source, 4).startswith(JPEG_MAGIC):
        return False
    with open_source(source, EXPECTED) as file:
        raw = 0
        for marker, body in _segments(file):
            raw += len(body) if marker == APP3 else 0
    return raw > LARGEST_DJI_HEAD


def _segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment of a JPEG before its pixels."""
    file.read(2)
    while len(head := file.read(4)) == 4 and head[0] == 0xFF and head[1] not in (0xD9, 0xDA):
        yield head[1], file.read(int.from_bytes(head[2:], "big") - 2)


def _joined_segments(file: BinaryIO, name: str) -> bytes:
    """The FFF file in a JPEG's APP1 segments; each numbers itself and tells the last number."""
    parts: dict[int, bytes] = {}
    last = -1
    for marker, body in _segments(file):
        if marker == APP1 and body.startswith(SEGMENT_HEAD) and len(body) > 8:
            parts[body[6]] = body[8:]
            last = max(last, body[7])
    if parts and len(parts) <= last:  # what follows a missing one would be read at another place
        raise InputError(
            name, found=f"{len(parts)} of {last + 1} segments of FLIR's record", expected=EXPECTED,
            remedy="Copy the file again; editors and messengers strip it.",
        )  # fmt: skip
    return b"".join(parts[number] for number in sorted(parts))


def _records(data: bytes) -> dict[int, tuple[int, bytes]]:
    """Subtype and content of each kind of record, the first of its kind."""
    if not data.startswith(FFF_MAGICS):
        raise ValueError("no FFF header")
    order = ">" if 100 <= struct.unpack_from(">I", data, 20)[0] < 200 else "<"
    start, count = struct.unpack_from(f"{order}II", data, 24)
    records: dict[int, tuple[int, bytes]] = {}
    for number in range(min(count, 4096)):
        kind, subtype, _, _, offset, length = struct.unpack_from(
            f"{order}HHIIII", data, start + DIRECTORY_ENTRY * number
        )
        if kind in (RAW_DATA, CAMERA_INFO) and kind not in records:
            if offset + length > len(data):
                raise ValueError("a record beyond the end of the file")
            records[kind] = (subtype, data[offset : offset + length])
    return records


def _order(record: bytes) -> str:
    """Byte order of a record, whose first 16 bits are 2."""
    return "<" if struct.unpack_from("<H", record)[0] < 0x100 else ">"


def _raw_counts(subtype: int, record: bytes, name: str) -> np.ndarray:
    """The sensor's counts, (H, W) uint16, from a raw block or a PNG inside a record."""
    order = _order(record)
    width, height = struct.unpack_from(f"{order}HH", record, 2)
    body = record[RAW_HEADER:]
    check_limit(name, width * height, MOST_PIXELS, "pixels of raw thermal data")
    if body.startswith(PNG_MAGIC):
        with Image.open(io.BytesIO(body), formats=["PNG"]) as picture:
            check_limit(name, picture.width * picture.height, MOST_PIXELS, "pixels of raw thermal data")
            counts = np.asarray(picture).astype(np.uint16)
        if counts.ndim != 2:
            raise ValueError("raw data in color")
        # Most cameras store the PNG's 16 bits in the wrong order. The right one is the smoother picture.
        other_order = counts.byteswap()
        return other_order if _roughness(other_order) < _roughness(counts) else counts
    if width * height == 0 or len(body) < 2 * width * height:
        raise ValueError(f"raw data of {len(body)} bytes for {width}x{height} pixels")
    return np.frombuffer(body, f"{order}u2", width * height).reshape(height, width).astype(np.uint16)


def _roughness(counts: np.ndarray) -> float:
    values = counts.astype(np.int64)
    across, down = np.abs(np.diff(values, axis=1)), np.abs(np.diff(values, axis=0))
    return float(across.sum() + down.sum())


def _calibration(record: bytes) -> Calibration:
    order = _order(record)

    def number(offset: int) -> float:
        return float(struct.unpack_from(f"{order}f", record, offset)[0])

    humidity = number(0x3C)
    calibration = Calibration(
        r1=number(0x58), b=number(0x5C), f=number(0x60), r2=number(0x30C),
        o=float(struct.unpack_from(f"{order}i", record, 0x308)[0]),
        emissivity=number(0x20), distance_m=number(0x24), reflected_k=number(0x28), atmosphere_k=number(0x2C),
        window_k=number(0x30), window_transmission=number(0x34) or 1.0,
        humidity=humidity / 100 if humidity > 2 else humidity,
        alpha1=number(0x70), alpha2=number(0x74), beta1=number(0x78), beta2=number(0x7C), x=number(0x80),
    )  # fmt: skip
    if not all(math.isfinite(v) for v in vars(calibration).values()):
        raise ValueError("a calibration that is not finite")
    if calibration.r1 <= 0 or calibration.r2 <= 0 or calibration.b <= 0:
        raise ValueError("a calibration without Planck constants")
    parts = (calibration.emissivity, calibration.window_transmission)
    if (
        not all(0 < part <= 1 for part in parts)
        or min(calibration.reflected_k, calibration.atmosphere_k) <= 0
    ):
        raise ValueError("a calibration out of range")
    return calibration
