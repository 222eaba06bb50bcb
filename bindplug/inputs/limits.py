"""Bounds on what one source may hold, checked before memory is allocated.

A damaged or hostile header claims any size. The bounds are far above what people record; a source beyond one is
refused with the way out.
"""

from __future__ import annotations

from bindplug.errors import InputError

MOST_SAMPLES = 1 << 29
"""Samples of a sound in memory at once, over all channels: 9 hours of one channel at 16 kHz, 2 GiB as float32."""
MOST_CHANNELS = 64
"""Channels of a sound."""
MOST_ROWS = 1 << 26
"""Rows of a table: 46 hours at 400 Hz."""
MOST_COLUMNS = 4096
"""Columns of a table."""
LONGEST_S = 10 * 365 * 24 * 3600.0
"""Time a recording may span, in seconds."""
MOST_PIXELS = 1 << 28
"""Pixels of a picture, also after its short side is scaled to the network's size."""
MOST_BYTES = 1 << 32
"""Bytes that are read into memory from one source that cannot be read piecewise."""


def check_limit(name: str, count: float, limit: float, unit: str, remedy: str = "") -> None:
    """Refuse a source that holds more than ``limit``.

    Args:
        name: of the source, see :func:`bindplug.inputs.source.describe_source`.
        count: how many it holds or claims to hold.
        limit: the most that is read.
        unit: what is counted, as ``"samples after resampling"``.
        remedy: what to do about it.

    Raises:
        InputError: ``count`` is over the limit, or not a number.
    """
    if not count <= limit:
        remedy = remedy or "The header may be damaged; else cut the recording into parts."
        raise InputError(name, found=f"{count:,.0f} {unit}", expected=f"at most {limit:,.0f}", remedy=remedy)
