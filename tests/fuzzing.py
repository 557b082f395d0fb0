"""Messages as nobody should send them, for the fuzz tests of every tier; and the frame of all fuzzers.

Those in ``tests/fuzz`` belong to the slow tier; ``scripts/prove`` runs them for as long as a night.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

#: Values that a header or an argument may have and should not.
LIES: tuple[object, ...] = (
    None,
    True,
    0,
    -1,
    -3600.5,
    2**63,
    -(2**70),
    1e308,
    float("nan"),
    float("inf"),
    -float("inf"),
    "",
    "soon",
    "\ud800",
    "\x00",
    "a\nb\x1b[31m",
    "x" * 5000,
    "9999-12-31T23:59:59.999999+00:00",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2026-02-30T00:00:00",
    "2020-01-01",
    "2020-01-01T00:00:00",
    [],
    [1],
    [None, None, None],
    [-1, -1],
    [1e300, 1e300],
    [float("inf"), None],
    ["a", "b"],
    {},
    {"__type__": "datetime", "__value__": "never"},
    {"__type__": "decimal", "__value__": "1e999999999"},
    {"a": {"b": [{}]}},
    ["a"],
    {"a": float("nan")},
)
HEADERS = (
    *("lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit"),
    *("root_id", "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "stamped_headers"),
    *("stamps", "taskd_max_retries", "taskd_retry_delay", "unknown"),
)
#: What a well-behaved sender says of its body.
PLAIN = ("application/json", "utf-8")
DEEP = b"[" * 20_000 + b"]" * 20_000

json_values = st.recursive(
    st.sampled_from(LIES) | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def encoded(value: object, *, escaped: bool) -> bytes:
    """Return JSON as a careless sender writes it: NaN, lone surrogates and all."""
    return json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")


@st.composite
def headers(draw: st.DrawFn, task: str = "fuzz.any") -> bytes:
    """Headers of a task with some of them missing or lying, or no headers at all."""
    kind = draw(st.sampled_from(["lying"] * 8 + ["json", "bytes", "deep", "torn", "utf-16"]))
    if kind == "bytes":
        return draw(st.binary(max_size=60))
    if kind == "json":
        return encoded(draw(json_values), escaped=draw(st.booleans()))
    fields: dict[str, object] = {"lang": "py", "task": task, "id": draw(st.uuids().map(str))}
    for name in draw(st.lists(st.sampled_from(HEADERS), max_size=3, unique=True)):
        fields[name] = draw(st.sampled_from(LIES) | json_values)
    for name in draw(st.lists(st.sampled_from(("task", "id")), max_size=1)):
        if draw(st.integers(0, 3)) == 0:
            fields.pop(name, None)
    data = encoded(fields, escaped=draw(st.booleans()))
    match kind:
        case "deep":
            return data[:-1] + b', "deep": ' + DEEP + b"}"
        case "torn":
            return data[: draw(st.integers(0, len(data)))]
        case "utf-16":
            return data.decode("utf-8", "replace").encode("utf-16")
    return data


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Bodies of a task whose args, kwargs or embed are not what they should be, or no body at all."""
    kind = draw(st.sampled_from(["plain", "plain", "lying", "lying", "json", "bytes", "deep", "utf-16"]))
    match kind:
        case "bytes":
            return draw(st.binary(max_size=60))
        case "json":
            return encoded(draw(json_values), escaped=True)
        case "deep":
            return b"[" + DEEP + b",{},{}]"
        case "utf-16":
            return "[[],{},{}]".encode("utf-16")
    parts: list[object] = [draw(st.lists(json_values, max_size=3)), {}, None]
    if kind == "lying":
        parts[draw(st.integers(0, 2))] = draw(json_values)
        parts = parts[: draw(st.integers(0, 3))] if draw(st.integers(0, 5)) == 0 else parts
    return encoded(parts, escaped=draw(st.booleans()))


content_types = st.sampled_from(
    [PLAIN] * 6
    + [
        ("application/json", "latin-1"),
        ("application/json; charset=utf-8", "UTF8"),
        ("application/x-python-serialize", "binary"),
        ("application/x-yaml", "utf-8"),
        ("application/x-msgpack", "binary"),
        ("", ""),
        ("\x00", "utf-8"),
    ]
)

#: Multiplies the counts of all fuzzers; ``scripts/prove`` sets it for a night.
TIMES_VARIABLE = "TASKD_FUZZ_TIMES"
#: The first seed of ``each_case``, to see a failure again.
SEED_VARIABLE = "TASKD_FUZZ_SEED"


def times(count: int) -> int:
    """Return how many cases a fuzzer is to draw that draws ``count`` in the slow tier."""
    return max(1, int(count * float(os.environ.get(TIMES_VARIABLE, "1"))))


def each_case(count: int, check: Callable[[random.Random], object]) -> None:
    """Call ``check`` for ``count`` cases, each of which draws from its own numbers.

    A case that raises fails the test with its seed, and is the first when that stands in ``TASKD_FUZZ_SEED``.
    """
    given = os.environ.get(SEED_VARIABLE)
    first = int(given) if given else random.randrange(2**48)
    for number in range(first, first + times(count)):
        try:
            check(random.Random(number))
        except Exception as error:
            raise AssertionError(f"{SEED_VARIABLE}={number}: {type(error).__name__}: {error}") from error


_TOKENS = (
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"true", b"NaN", b"1e999", b"-", b".", b"/", b"%"),
    *(b"\x00", b"\xff", b"\xed\xa0\x80", b"\\ud800", b'"__type__"', b'"__value__"', b"\n", b"\x1b[2J", b"="),
    *(b"9" * 400, b"9" * 5000, b"[" * 2000, b'{"a":' * 2000, b"\x91" * 2000, b"\xdd\xff\xff\xff\xff"),
    *(b"#", b"'", b"${A}"),
)


def mutated(rng: random.Random, samples: Sequence[bytes]) -> bytes:
    """Return one of the samples after up to six changes, or now and then plain noise."""
    if rng.random() < 0.02:
        return rng.randbytes(rng.randrange(64))
    data = bytearray(rng.choice(samples))
    for _ in range(rng.randrange(1, 7)):
        at = rng.randrange(len(data) + 1)
        to = min(len(data), at + rng.choice((1, 1, 2, 4, 16)))
        match rng.randrange(6):
            case 0:
                data[at:to] = rng.randbytes(to - at)
            case 1:
                del data[at:to]
            case 2:
                data[at:at] = rng.choice(_TOKENS)
            case 3:
                data[at:to] = rng.choice(_TOKENS)
            case 4:
                data[at:at] = data[at:to] * rng.choice((1, 2, 50))
            case 5:
                other = rng.choice(samples)
                cut = rng.randrange(len(other) + 1)
                data[at:] = other[cut:]
    return bytes(data)
