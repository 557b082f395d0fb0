"""The headers and body of task protocol 2."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import pytest
from kombu.utils import json as kombu_json

from taskd.base.errors import ProtocolError, SerializationError
from taskd.protocol.message import (
    FAR_FUTURE_AT,
    OutgoingHeaders,
    carries_nothing,
    decode_body,
    decode_headers,
    encode_body,
    encode_headers,
    headers_as_mapping,
)
from taskd.protocol.message_repr import LIMIT, bounded_repr


def _outgoing(**given: Any) -> OutgoingHeaders:
    defaults = {"task": "shop.add", "id": "i1", "root_id": "i1", "argsrepr": "()", "kwargsrepr": "{}"}
    return OutgoingHeaders(**{**defaults, "origin": "gen1@h", **given})


def _headers(**changes: Any) -> bytes:
    # A message of Celery 5.7, captured from the wire.
    celery: dict[str, object] = {
        "lang": "py",
        "task": "shop.add",
        "id": "i1",
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": "i1",
        "parent_id": None,
        "argsrepr": "(1, 2)",
        "kwargsrepr": "{}",
        "origin": "gen7@web1",
        "ignore_result": False,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
        "x-tenant": 7,
    }
    return json.dumps({**celery, **changes}).encode()


def test_all_headers_of_celery_are_written_null_when_unset() -> None:
    written = kombu_json.loads(encode_headers(_outgoing()))

    assert written.keys() == json.loads(_headers()).keys() - {"x-tenant"}
    assert written["timelimit"] == [None, None]
    assert written["eta"] is None


def test_headers_of_the_user_lie_flat_beside_the_others() -> None:
    data = encode_headers(_outgoing(), {"x-tenant": 7, "since": b"\xff"})

    assert kombu_json.loads(data)["x-tenant"] == 7
    assert headers_as_mapping(data)["task"] == "shop.add"


def test_a_message_of_celery_is_read() -> None:
    headers = decode_headers(_headers(eta="2026-08-20T12:00:00+02:00", timelimit=[30, 2.5], retries=3))

    assert (headers.task, headers.id, headers.retries) == ("shop.add", "i1", 3)
    assert headers.eta_at == 1787220000.0
    assert headers.expires_at is None
    assert (headers.hard_limit_s, headers.soft_limit_s) == (30, 2.5)


def test_a_users_header_that_only_kombu_writes_is_no_obstacle() -> None:
    data = encode_headers(_outgoing(), {"x-ratio": float("inf"), "x-lone": "\ud800"})

    assert decode_headers(data).task == "shop.add"
    assert headers_as_mapping(data)["x-ratio"] == float("inf")


def test_a_time_without_offset_is_utc() -> None:
    assert decode_headers(_headers(expires="1970-01-02T00:00:00")).expires_at == 86400.0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"eta": 17}, "eta"),
        ({"expires": "tomorrow"}, "expires"),
        ({"expires": "2026-02-30T00:00:00"}, "expires"),
        ({"retries": -1}, "retries"),
        ({"retries": 2**63}, "retries"),
        ({"retries": [1]}, "retries"),
        ({"timelimit": [1, 2, 3]}, "timelimit"),
        ({"timelimit": [-1, None]}, "timelimit"),
        ({"group": {"a": 1}}, "group"),
        ({"id": ""}, "id"),
        ({"id": None}, "id"),
        ({"task": 5}, "task"),
    ],
)
def test_a_header_that_cannot_be_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ProtocolError, match=named):
        decode_headers(_headers(**changes))


def test_a_missing_id_is_named() -> None:
    with pytest.raises(ProtocolError, match="`id`"):
        decode_headers(b'{"task": "shop.add"}')


def test_a_time_that_is_far_away_is_read_as_far_away() -> None:
    for eta in ("9999-12-31T23:59:59-12:00", "2200-01-01T00:00:01Z"):
        assert decode_headers(_headers(eta=eta)).eta_at == FAR_FUTURE_AT


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff", b'{"task": "a", "id": "\xff"}'])
def test_headers_that_are_no_object_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_headers(data)


def test_the_body_is_read_by_kombu_and_by_us() -> None:
    body = encode_body((1, "two"), {"x": None})

    args, kwargs, embed = kombu_json.loads(body)
    assert (args, kwargs) == ([1, "two"], {"x": None})
    assert embed == {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    assert decode_body(body, "application/json") == (args, kwargs, embed)


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[]", b"[[]]", b"[[],{},{},{}]", b"[{},[1],{}]", b'[{"a":1},{},{}]', b"[[],{},[1]]", b"["],
)
def test_a_body_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(SerializationError):
        decode_body(body, "application/json")


def test_a_body_with_callbacks_has_all_keys_of_celery() -> None:
    body = encode_body((), {}, {"callbacks": [{"task": "a"}]})

    embed = decode_body(body, "application/json")[2]
    assert embed == {"callbacks": [{"task": "a"}], "errbacks": None, "chain": None, "chord": None}
    assert not carries_nothing(body)
    assert carries_nothing(encode_body((1,), {}))


@pytest.mark.parametrize("value", [(), (1, "a"), {"x": 1.5}, [None, True], "text", 7])
def test_small_values_are_shown_as_repr_shows_them(value: object) -> None:
    assert bounded_repr(value) == repr(value)


def test_large_and_hostile_values_are_cut() -> None:
    class Hostile:
        def __repr__(self) -> NoReturn:
            raise RuntimeError("no")

    class Lone:
        def __repr__(self) -> str:
            return "\ud800"

    values = [
        Lone(),
        ("x" * 10_000_000,),
        list(range(10_000)),
        {str(n): "y" * 300 for n in range(1000)},
        (Hostile(),),
        Hostile(),
        10**5000,
    ]

    for value in values:
        text = bounded_repr(value)
        assert 0 < len(text) <= LIMIT
        assert text.encode()
