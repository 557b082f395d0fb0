"""Events on the wire: Celery's fields out, anything at all in."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.protocol import events
from taskd.protocol.events import Event, TaskSucceeded, WorkerHeartbeat
from taskd.protocol.lamport import MAX_ADJUSTED, LamportClock

COMMON = {"hostname": "w1@host", "timestamp": 1700000000.5, "clock": 7, "pid": 42, "utcoffset": -1}
#: As Celery's documentation and source have them, beside the common fields and the type.
CELERYS_FIELDS = {
    "worker-online": {"freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys"},
    "worker-heartbeat": {"freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys"},
    "worker-offline": {"freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys"},
    "worker-elect": {"id", "topic", "action", "cver"},
    "worker-elect-ack": {"id"},
    "task-sent": {
        "uuid", "name", "args", "kwargs", "root_id", "parent_id", "retries", "eta", "expires",
        "queue", "exchange", "routing_key",
    },
    "task-received": {
        "uuid", "name", "args", "kwargs", "root_id", "parent_id", "retries", "eta", "expires",
    },
    "task-started": {"uuid"},
    "task-succeeded": {"uuid", "result", "runtime"},
    "task-failed": {"uuid", "exception", "traceback"},
    "task-retried": {"uuid", "exception", "traceback"},
    "task-revoked": {"uuid", "terminated", "signum", "expired"},
    "task-rejected": {"uuid", "requeue"},
    "task-cancelled": {"uuid"},
}  # fmt: skip


def test_every_event_has_celerys_fields_and_no_other() -> None:
    fields = {
        name: {field.encode_name for field in msgspec.structs.fields(struct)} - set(COMMON)
        for name, struct in events.EVENTS.items()
        if not issubclass(struct, events.BeatEvent)
    }

    assert fields == CELERYS_FIELDS


def test_an_event_is_flat_json_with_its_type() -> None:
    event = TaskSucceeded(uuid="id-1", result="5", runtime=0.25, **COMMON)  # type: ignore[arg-type]

    assert json.loads(events.encode(event)) == {
        **COMMON,
        "type": "task-succeeded",
        "uuid": "id-1",
        "result": "5",
        "runtime": 0.25,
    }
    assert events.type_of(event) == "task-succeeded"


def test_keys_are_those_that_monitors_subscribe_to() -> None:
    assert events.routing_key("worker-elect-ack") == "worker.elect.ack"
    assert events.multi_key("task") == "task.multi"


def test_one_event_and_a_list_of_them_are_read_alike() -> None:
    event: Event = WorkerHeartbeat(
        freq=2.0,
        active=1,
        processed=5,
        loadavg=(0.1, 0.2, 0.3),
        sw_ident="taskd",
        sw_ver="1",
        sw_sys="Linux",
        **COMMON,  # type: ignore[arg-type]
    )

    (alone,), problems = events.decode(events.encode(event), "application/json")
    (first, second), more = events.decode(events.encode([event, event]), "application/json")

    assert alone == first == second
    assert (alone.type, alone.hostname, alone.clock, alone.group) == (
        "worker-heartbeat",
        "w1@host",
        7,
        "worker",
    )
    assert alone.number("processed") == 5
    assert alone.raw["loadavg"] == [0.1, 0.2, 0.3]
    assert problems == more == []


def test_an_application_sends_events_of_its_own_without_a_clock() -> None:
    body = b'{"type": "shop-sold", "hostname": "x", "timestamp": 1, "pid": null, "price": "7"}'

    (event,), problems = events.decode(body, "application/json")

    assert (event.type, event.clock, event.pid) == ("shop-sold", 0, 0)
    assert (event.text("price"), event.number("price"), event.text("nothing")) == ("7", None, "")
    assert problems == []


def test_one_bad_event_of_a_list_costs_only_itself() -> None:
    good = {"type": "task-started", "uuid": "id-1", **COMMON}

    seen, problems = events.decode(
        json.dumps([good, {**good, "clock": -1}, 3, good]).encode(), "application/json"
    )

    assert len(seen) == 2
    assert len(problems) == 2
    assert "clock" in problems[0]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"type": "task-started"}',
        b'{"type": "", "hostname": "h", "timestamp": 1}',
        b'{"type": "t", "hostname": "h", "timestamp": 1e308}',
        b'{"type": "t", "hostname": "h", "timestamp": 1, "clock": 123456789012345678901234567890}',
        b'{"type": "t", "hostname": "\\ud800", "timestamp": 1}',
    ],
)
def test_garbage_is_named_and_raises_nothing(body: bytes) -> None:
    seen, problems = events.decode(body, "application/json")

    assert seen == []
    assert len(problems) == 1


def test_other_content_types_are_not_read() -> None:
    assert events.decode(b"{}", "application/x-python-serialize")[0] == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*COMMON, "type", "x"]), inner),
    )
)
def test_no_json_raises(value: object) -> None:
    seen, problems = events.decode(json.dumps(value).encode(), "application/json")

    count = len(value) if isinstance(value, list) else 1
    assert len(seen) + len(problems) in (count, 1)


@given(st.binary())
def test_no_bytes_raise(body: bytes) -> None:
    events.decode(body, "application/json")


def test_the_clock_moves_past_everything_it_has_seen_and_never_back() -> None:
    clock = LamportClock()

    assert clock.forward() == 1
    assert clock.adjust(10) == 11
    assert clock.adjust(3) == 12
    assert clock.adjust(10**30) == MAX_ADJUSTED + 1
    assert clock.adjust(-5) == MAX_ADJUSTED + 2
