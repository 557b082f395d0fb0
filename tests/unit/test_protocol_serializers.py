"""Our JSON and kombu's JSON read each other."""

from __future__ import annotations

import json
import math
import re
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kombu.utils import json as kombu_json

from taskd.base.errors import SerializationError
from taskd.protocol import budget, serializers

_SPECIAL = [
    datetime(2026, 3, 4, 5, 6, 7, 8, tzinfo=timezone(timedelta(hours=2))),
    datetime(2026, 3, 4),  # noqa: DTZ001 - naive ones travel too
    date(2026, 3, 4),
    time(5, 6, 7, 8),
    Decimal("1.10"),
    UUID("6f3c8f0e-5a0b-5b1e-9d53-0d3f6a1c7b42"),
    b"text",
    b"\xff\x00",
]

_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_plain)
def test_plain_values_read_the_same_on_both_sides(value: Any) -> None:
    assert kombu_json.loads(serializers.dumps(value)) == value
    assert serializers.loads(kombu_json.dumps(value).encode()) == value


@pytest.mark.parametrize("value", _SPECIAL, ids=repr)
def test_special_values_cross_in_both_directions(value: Any) -> None:
    nested = {"a": [value, 1]}

    assert kombu_json.loads(serializers.dumps(nested)) == nested
    assert serializers.loads(kombu_json.dumps(nested).encode()) == nested
    assert serializers.loads(serializers.dumps(nested)) == nested


@given(st.datetimes(timezones=st.just(timezone.utc)) | st.dates() | st.times() | st.uuids() | st.binary())
def test_every_special_value_is_written_as_kombu_writes_it(value: Any) -> None:
    assert kombu_json.loads(serializers.dumps([value])) == [value]
    assert serializers.loads(kombu_json.dumps([value]).encode()) == [value]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_numbers_outside_of_json_are_not_turned_into_null(value: Any) -> None:
    there = kombu_json.loads(serializers.dumps([value]))[0]
    back: Any = serializers.loads(serializers.dumps({"x": value}))

    assert str(there) == str(value)
    assert str(back["x"]) == str(value)


def test_what_json_changes_is_changed_as_kombu_changes_it() -> None:
    value = {1: (1, 2), None: True, "big": 2**80, "lone": "\ud800"}

    assert kombu_json.loads(serializers.dumps(value)) == kombu_json.loads(kombu_json.dumps(value))
    assert serializers.loads(serializers.dumps(value)) == kombu_json.loads(kombu_json.dumps(value))


def test_an_object_may_say_its_own_json() -> None:
    class Order:
        def __json__(self) -> dict[str, Any]:
            return {"order": 7}

    assert serializers.loads(serializers.dumps([Order()])) == [{"order": 7}]


def test_a_value_without_json_is_named() -> None:
    class Order:
        pass

    with pytest.raises(SerializationError, match="Order"):
        serializers.dumps({"order": Order()})


def test_a_cycle_and_a_bottomless_nesting_are_refused() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]

    for value in (cycle, deep):
        with pytest.raises(SerializationError):
            serializers.dumps(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[1] x",
        b'"\xff"',
        b"[" * 100_000,
        b'{"__type__": "datetime", "__value__": 5}',
        b'{"__type__": "datetime", "__value__": "soon"}',
        b'{"__type__": "uuid", "__value__": {"int": 5}}',
        b'{"__type__": "decimal", "__value__": "x"}',
        b'{"__type__": "shop.Order", "__value__": {}}',
        b'{"__type__": ["list"], "__value__": {}}',
    ],
    ids=lambda data: data[:30].decode("latin-1"),
)
def test_bytes_that_are_not_such_json_are_refused(data: bytes) -> None:
    with pytest.raises(SerializationError):
        serializers.loads(data)


def test_text_that_looks_like_a_mark_stays_text() -> None:
    value = {"__type__": "datetime", "note": '"__type__"'}

    assert serializers.loads(serializers.dumps(value)) == value


_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**4290, 10**4310)
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.text(st.characters(categories=["Cs"]), max_size=3)
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.binary(max_size=8)
    | st.dates()
    | st.times(timezones=st.none() | st.timezones())
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.sampled_from(["__type__", "__value__", "datetime"])
)
_keys = st.text(max_size=4) | st.sampled_from(["__type__", "__value__"]) | st.integers(0, 3) | st.none()
_any_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)


def expected(value: object) -> object:
    """Return how a value is to come back: what JSON has fewer kinds of is of the kind that it has."""
    if isinstance(value, (list, tuple)):
        return [expected(part) for part in value]
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else json.dumps(key): expected(part) for key, part in value.items()
        }
    return repr(value) if isinstance(value, float) else value


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(_any_values)
def test_what_is_written_comes_back_or_is_refused(value: Any) -> None:
    try:
        data = serializers.dumps(value)
    except SerializationError:
        return

    assert expected(serializers.loads(data)) == expected(value)
    assert expected(kombu_json.loads(data)) == expected(value)


class NaT(datetime):
    """As pandas' "not a time": a datetime that is none."""

    def isoformat(self, *_: object) -> str:
        return "NaT"


class Timestamp(datetime):
    """As pandas' Timestamp with nanoseconds, which text of a datetime cannot hold."""

    def __eq__(self, other: object) -> bool:
        return type(other) is Timestamp

    def __hash__(self) -> int:
        return 1


@pytest.mark.parametrize(
    "value",
    [
        NaT(2026, 1, 1),
        Timestamp(2026, 1, 1),
        time(1, 2, tzinfo=ZoneInfo("Europe/Berlin")),
        {"__type__": "datetime", "__value__": "2026-01-01"},
        {"__type__": "shop.Order", "__value__": 1},
        10**5000,
        -(10**4300),
        {1: "a", "1": "b"},
        "\ud83d\ude00",
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_would_not_come_back_is_refused(value: Any) -> None:
    for nested in (value, [{"a": (value,)}]):
        with pytest.raises(SerializationError):
            serializers.dumps(nested)


def test_an_error_of_json_says_in_plain_words_what_is_wrong_with_the_value() -> None:
    circle: list[object] = []
    circle.append(circle)
    number = np.int64(3)
    for value, words in (
        (10**5000, "an integer of more than 4,300 digits cannot be read again; send it as text"),
        (circle, "a list or dict holds itself"),
        (number, 'JSON cannot hold the type "numpy.int64"; use value.item()'),
    ):
        with pytest.raises(SerializationError, match=re.escape(words)):
            serializers.dumps(value)


def test_what_is_nested_as_deeply_as_may_be_is_read_from_deep_in_a_stack() -> None:
    deep: object = 1
    for _ in range(budget.MOST_DEPTH):
        deep = [deep]
    data = serializers.dumps(deep)

    def at_depth(frames: int) -> object:
        return at_depth(frames - 1) if frames else serializers.loads(data)

    assert at_depth(300) == deep
    with pytest.raises(SerializationError, match="deep"):
        serializers.dumps([[deep]])
