"""What a caller may say about a motion log: units, columns, clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bindplug.errors import OptionError
from bindplug.inputs.imu.columns import CHANNELS, CLOCK, GYROSCOPE, match_columns
from bindplug.inputs.imu.tables import ColumnChoice
from bindplug.inputs.imu.units import ACCELERATION, TIME, TURN_RATE, parse_unit

UnitOption = str | float | None


@dataclass(frozen=True)
class SignalOptions:
    """How the caller says a log is to be understood; see :meth:`bindplug.inputs.ImuPreprocess.read`."""

    acc_unit: UnitOption = None
    gyro_unit: UnitOption = None
    time_unit: str | None = None
    sample_rate: float | None = None
    columns: ColumnChoice = None
    sort: bool = False
    long_gaps: str = "refuse"
    ignore_clock: bool = False

    def __post_init__(self) -> None:
        for option, unit, kind in (
            ("acc_unit", self.acc_unit, ACCELERATION),
            ("gyro_unit", self.gyro_unit, TURN_RATE),
            ("time_unit", self.time_unit, TIME),
        ):
            if unit is not None:
                option_scale(option, unit, kind)
        if isinstance(self.columns, Mapping):
            keys = (*CHANNELS, CLOCK)
            unknown = [key for key in self.columns if key not in keys]
            if unknown:
                raise OptionError(f"columns={dict(self.columns)!r}; expected keys among {', '.join(keys)}")
            _refuse_repeats(list(self.columns.values()))
        elif isinstance(self.columns, str):
            raise OptionError(f"columns={self.columns!r}; expected a mapping by channel or a list of names")
        elif self.columns is not None:
            roles = set(match_columns(self.columns).names)
            _refuse_repeats([name for name in self.columns if name in roles])

    def unit(self, sensor: str) -> UnitOption:
        """The unit stated for a sensor."""
        return self.gyro_unit if sensor == GYROSCOPE else self.acc_unit


def _refuse_repeats(names: list[str]) -> None:
    """Refuse one column for several channels.

    Raises:
        OptionError: a name stands twice.
    """
    repeats = [name for name, count in Counter(names).items() if count > 1]
    if repeats:
        raise OptionError(f"columns= has {repeats[0]!r} more than once; expected a column for each channel")


def option_scale(option: str, unit: str | float, kind: str) -> float:
    """What the value of the option is in m/s^2, rad/s or s.

    Raises:
        OptionError: it is no unit of that kind.
    """
    if isinstance(unit, (int, float)) and not isinstance(unit, bool):
        if kind != TIME and np.isfinite(unit) and unit > 0:
            return float(unit)
    elif isinstance(unit, str) and (parsed := parse_unit(unit)) and parsed.kind == kind:
        return parsed.scale
    examples = {ACCELERATION: "'m/s^2', 'g', 'mg' or a positive number of m/s^2 a count",
                TURN_RATE: "'rad/s', 'deg/s', 'mdps' or a positive number of rad/s a count",
                TIME: "'s', 'ms', 'us', 'ns' or a multiple such as '100us'"}  # fmt: skip
    raise OptionError(f"{option}={unit!r}; expected a unit of {kind}: {examples[kind]}")
