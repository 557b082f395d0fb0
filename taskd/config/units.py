"""Durations and sizes as people write them: ``"30s"``, ``"1.5h"``, ``"512MiB"``.  Pure.

A bare number is seconds, or bytes.  One number and one unit: ``"1h30m"`` is refused rather than
guessed at.
"""

from __future__ import annotations

import math
import re

from taskd.base.errors import ConfigError

DURATION_FORM = 'a duration such as "250ms", "30s", "5m", "1.5h" or "2d", or a number of seconds'
SIZE_FORM = 'a size such as "64KiB", "512MiB" or "1GB", or a number of bytes'

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)", re.ASCII)


class UnitError(ConfigError):
    """A quantity cannot be read; ``wrong`` says why and ``expected`` what is accepted."""

    def __init__(self, wrong: str, expected: str) -> None:
        super().__init__(f"{wrong}; expected {expected}")
        self.wrong = wrong
        self.expected = expected


def parse_duration(value: str | float) -> float:
    """Return seconds.

    Raises: ``UnitError`` when the text has no such value, or one that is negative or not finite.
    """
    if isinstance(value, str):
        number, unit = _split(value, DURATION_FORM)
        if unit not in _SECONDS and unit:
            raise UnitError(f'the unit "{unit}" is unknown', DURATION_FORM)
        # Rounded, because 250 * 0.001 must be 0.25 and not its neighbour.
        return round(number * _SECONDS[unit or "s"], 9)
    return float(_plain(value, DURATION_FORM))


def parse_size(value: str | float) -> int:
    """Return bytes; the case of the unit does not matter.

    Raises: ``UnitError`` when the text has no such value, or one that is negative or not finite.
    """
    if isinstance(value, str):
        number, unit = _split(value, SIZE_FORM)
        if unit.upper() not in _BYTES and unit:
            raise UnitError(f'the unit "{unit}" is unknown', SIZE_FORM)
        return int(number * _BYTES[unit.upper() or "B"])
    return int(_plain(value, SIZE_FORM))


def _split(text: str, form: str) -> tuple[float, str]:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise UnitError(f'"{text}" cannot be read', form)
    return float(match[1]), match[2]


def _plain(value: float, form: str) -> float:
    # A boolean is an int to Python, never to a person.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UnitError(f"{str(value).lower()} cannot be read", form)
    if not math.isfinite(value) or value < 0:
        raise UnitError(f"{value} is not possible", form)
    return value
