"""Every option of a task and of a send is declared once: what else names options agrees with the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest

from taskd.protocol.message import RESERVED_HEADERS, TaskHeaders, decode_body, headers_as_mapping
from taskd.sending.callbacks import message_of
from taskd.sending.calls import build_message
from taskd.sending.forms import Acks
from taskd.sending.options import (
    SEND,
    TASK,
    DeclareOptions,
    SendOptions,
    TaskOptions,
    TaskSettings,
    worker_options,
)
from taskd.sending.signature import CARRIED, SignatureOptions, read_signatures

#: A value of each type that an option may have for a type checker.
VALUES: Mapping[Any, object] = {
    bool: True,
    int: 7,
    float: 1.5,
    str: "gzip",
    datetime: datetime(2100, 1, 1, tzinfo=timezone.utc),
    timedelta: timedelta(seconds=5),
    dict: {"x-tenant": 7},
    tuple: (OSError,),
}
#: Other values, for options whose texts mean something.
TEXTS = {"rate_limit": "10/m", "acks": "early"}
#: A value of each option that a signature carries.
SIGNED: Mapping[str, Any] = {
    "countdown": 60.0,
    "eta": VALUES[datetime],
    "expires": VALUES[datetime],
    "queue": "mail",
    "priority": 7,
    "task_id": "own",
    "headers": {"x-tenant": 7},
    "max_retries": 5,
    "retry_delay": 2.5,
    "ignore_result": True,
    "soft_time_limit": 1.5,
    "time_limit": 2.5,
    "link": [{"task": "after", "args": [], "kwargs": {}, "options": {}, "immutable": False}],
    "link_error": [{"task": "after", "args": [], "kwargs": {}, "options": {}, "immutable": False}],
}


def members(hint: Any) -> list[Any]:
    """Return the single types of a union, and what a literal lists."""
    if isinstance(hint, UnionType):
        return [each for part in get_args(hint) for each in members(part)]
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [hint]


def values(hints: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Return for each option a value of each type that its typed dict allows."""
    found: list[tuple[str, object]] = []
    for name, hint in hints.items():
        for member in members(hint):
            if member is NoneType or isinstance(member, str) or name in ("link", "link_error"):
                found.append((name, None if member is NoneType else TEXTS.get(name, [])))
                continue
            kind = get_origin(member) or member
            kind = dict if kind is Mapping or getattr(kind, "__name__", "") == "Mapping" else kind
            found.append((name, TEXTS.get(name, VALUES[kind]) if kind is str else VALUES[kind]))
    return found


def test_the_typed_dict_of_a_send_has_the_options_of_the_rows() -> None:
    assert list(SEND) == list(SendOptions.__annotations__)


def test_the_typed_dict_of_a_task_has_the_options_of_the_rows() -> None:
    assert TASK.keys() == DeclareOptions.__annotations__.keys()


@pytest.mark.parametrize(("name", "value"), values(get_type_hints(SendOptions)))
def test_each_type_that_a_checker_allows_in_a_send_is_taken(name: str, value: object) -> None:
    if value is not None:
        SEND[name].form.taken(name, value)


@pytest.mark.parametrize(("name", "value"), values(get_type_hints(DeclareOptions)))
def test_each_type_that_a_checker_allows_in_a_task_is_taken(name: str, value: object) -> None:
    if value is not None or TASK[name].form.takes_none:
        kept = TASK[name].form.taken(name, value)
        given: dict[str, Any] = {"name": "t", name: value}
        assert getattr(TaskSettings(**given), name) == kept


@pytest.mark.parametrize("name", sorted(SEND.keys() - {"link", "link_error"}))
def test_another_type_is_refused_by_name(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} is .*; expected "):
        SEND[name].form.taken(name, object())


def test_a_default_is_a_value_that_its_form_takes() -> None:
    settings = TaskSettings("t")

    for name, option in TASK.items():
        assert option.form.taken(name, getattr(settings, name)) == getattr(settings, name)


def test_a_header_of_an_option_is_read_by_workers_and_is_nobody_elses() -> None:
    headers = {option.header for option in SEND.values() if option.header}

    assert headers
    assert headers <= set(TaskHeaders.__struct_fields__)
    assert headers <= RESERVED_HEADERS


@pytest.mark.parametrize("name", CARRIED)
def test_an_option_in_a_signature_makes_the_message_that_it_makes_in_a_send(name: str) -> None:
    options = {"task_id": "i", name: SIGNED[name]}
    raw = msgspec.json.decode(msgspec.json.encode({"task": "t", "options": options}))
    (signature,) = read_signatures([raw], "link")

    signed = message_of(signature)
    sent = build_message(TaskSettings("t"), [], {}, **options)

    assert without_times(signed.headers) == without_times(sent.headers)
    assert decode_body(signed.body, "application/json") == decode_body(sent.body, "application/json")
    assert (signed.routing_key, signed.priority, signed.task_id) == (
        sent.routing_key,
        sent.priority,
        sent.task_id,
    )
    assert (signed.due_at is None) == (sent.due_at is None)


def without_times(headers: bytes) -> dict[str, object]:
    """Return headers without a fraction of the second in which they were written."""
    return {
        name: str(value)[:16] if name == "eta" else value
        for name, value in headers_as_mapping(headers).items()
    }


def test_a_signature_says_nothing_but_what_is_declared() -> None:
    own = {"exchange", "routing_key", "chain", "chord", "shadow", "reply_to"}
    of_a_group = {"group_id", "group_index", "stamped_headers"}

    assert set(SignatureOptions.__struct_fields__) == {*CARRIED, *own, *of_a_group}


def test_a_worker_knows_of_a_task_what_it_must() -> None:
    settings = TaskSettings("t", queue="mail", acks=Acks.EARLY, rate_limit=2.0, time_limit=5.0)

    known = worker_options(settings)

    assert type(known) is TaskOptions
    assert {each.name: getattr(settings, each.name) for each in fields(known)} == {
        each.name: getattr(known, each.name) for each in fields(known)
    }
    assert msgspec.json.decode(msgspec.json.encode(known), type=TaskOptions) == known
