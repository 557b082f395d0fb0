"""The words in which a rate limit is written: "10/m", "100/h", 5, "0".

One parser for everybody who takes a rate: task options, the configuration, remote control. Pure.
"""

from __future__ import annotations

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_rate(text: str | float | None) -> float:
    """Return tasks a second, 0.0 for no limit.

    A bare number is tasks a second. None, "" and "0" mean no limit.

    Raises:
        ValueError: the text is not a rate; the message says what a rate looks like.
    """
    if text is None or text == "":
        return 0.0
    number, slash, unit = str(text).partition("/")
    try:
        count = float(number)
        seconds = _SECONDS[unit.strip()] if slash else 1.0
    except (ValueError, KeyError):
        raise ValueError(_wrong(text)) from None
    if not 0.0 <= count < float("inf"):  # NaN falls out here as well
        raise ValueError(_wrong(text))
    return count / seconds


def format_rate(rate: float) -> str:
    """Return tasks a second as people write a rate, in the unit in which the number is 1 or more."""
    for unit, seconds in _SECONDS.items():
        if rate * seconds >= 1.0 or unit == "h":
            return f"{rate * seconds:g}/{unit}"
    raise AssertionError("an hour is the last unit")


def _wrong(text: str | float) -> str:
    return f"{text!r} is not a rate; expected tasks per second, minute or hour: 10/s, 10/m, 10/h, 0 for none"
