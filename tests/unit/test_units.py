"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.config.units import UnitError, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("5m", 300.0),
        ("1.5h", 5400.0),
        ("250ms", 0.25),
        ("2d", 172800.0),
        ("0s", 0.0),
        ("10", 10.0),
        (" 3 s ", 3.0),
        (7, 7.0),
        (0.5, 0.5),
    ],
)
def test_a_duration_is_read_as_seconds(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "1h30m", "1e3s", "\u0661s", "5 minutes", "0x10s", "1..5s", "s5", "1_0s"]
)
def test_what_is_no_duration_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(UnitError, match=r"expected a duration such as"):
        parse_duration(text)


@pytest.mark.parametrize("value", [-1, -0.5, float("nan"), float("inf"), True])
def test_numbers_that_cannot_be_durations_are_refused(value: float) -> None:
    with pytest.raises(UnitError):
        parse_duration(value)


def test_an_unknown_unit_is_named() -> None:
    with pytest.raises(UnitError, match='the unit "min" is unknown'):
        parse_duration("5min")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("512MiB", 512 * 1024**2),
        ("1GB", 10**9),
        ("64KiB", 65536),
        ("1.5KiB", 1536),
        ("100B", 100),
        ("100", 100),
        (4096, 4096),
        ("2tib", 2 * 1024**4),
    ],
)
def test_a_size_is_read_as_bytes(text: str | float, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "MiB", "-1MiB", "5 apples", "1MiBB"])
def test_what_is_no_size_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(UnitError, match=r"expected a size such as"):
        parse_size(text)


@given(st.integers(0, 10**12), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_every_whole_duration_is_exact(number: int, unit: str) -> None:
    factor = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    assert parse_duration(f"{number}{unit}") == pytest.approx(number * factor, rel=1e-12)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_duration, parse_size):
        try:
            assert parse(text) >= 0
        except UnitError:
            pass
