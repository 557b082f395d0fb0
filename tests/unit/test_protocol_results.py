"""Result records as Celery's clients read them."""

from __future__ import annotations

from typing import Any

import pytest
from kombu.utils import json as kombu_json

from taskd.base.errors import ProtocolError, SerializationError
from taskd.protocol.exceptions import RemoteTraceback, TaskRevokedError, WorkerLostError
from taskd.protocol.results import (
    TaskState,
    decode_record,
    failure_record,
    retry_record,
    revoked_record,
    state_record,
    success_record,
)


def test_a_success_has_the_keys_of_celery() -> None:
    assert kombu_json.loads(success_record("i1", {"n": 1}, done_at=0.5)) == {
        "status": "SUCCESS",
        "result": {"n": 1},
        "traceback": None,
        "children": [],
        "date_done": "1970-01-01T00:00:00.500000+00:00",
        "task_id": "i1",
    }


def test_group_and_parent_are_written_when_the_task_has_them() -> None:
    record = kombu_json.loads(success_record("i1", None, done_at=0.0, group_id="g", parent_id="p"))

    assert (record["group_id"], record["parent_id"]) == ("g", "p")


def test_a_failure_comes_back_as_its_exception() -> None:
    try:
        raise ValueError("boom", 3)
    except ValueError as caught:
        data = failure_record("i1", caught, done_at=0.0)

    record = decode_record(data)
    error = record.exception()

    assert kombu_json.loads(data)["result"] == {
        "exc_type": "ValueError",
        "exc_message": ["boom", 3],
        "exc_module": "builtins",
    }
    assert record.is_final
    assert repr(error) == "ValueError('boom', 3)"
    assert error is not None
    assert isinstance(error.__cause__, RemoteTraceback)


def test_the_parent_writes_failures_that_were_never_raised() -> None:
    record = decode_record(failure_record("i1", WorkerLostError("signal 9"), done_at=0.0))

    assert record.traceback is None
    assert isinstance(record.exception(), WorkerLostError)


def test_a_retry_is_not_final_and_not_done() -> None:
    record = decode_record(retry_record("i1", ValueError("x"), traceback="tb"))

    assert (record.status, record.is_final, record.date_done) == ("RETRY", False, None)
    assert isinstance(record.exception(), ValueError)


def test_a_revoked_task_says_why() -> None:
    data = revoked_record("i1", "expired", done_at=0.0)

    assert kombu_json.loads(data)["result"]["exc_module"] == "celery.exceptions"
    error = decode_record(data).exception()
    assert isinstance(error, TaskRevokedError)
    assert error.args == ("expired",)


@pytest.mark.parametrize("value", [float("inf"), "\ud800", {"x": [float("-inf")]}])
def test_a_value_that_only_kombu_writes_is_read(value: dict[str, Any] | float | str) -> None:
    assert decode_record(success_record("i1", value, done_at=0.0)).value() == value


def test_a_traceback_with_lone_surrogates_is_stored() -> None:
    record = decode_record(failure_record("i1", ValueError("\ud800"), done_at=0.0, traceback="a\ud800b"))

    assert record.traceback is not None
    assert "a" in record.traceback


def test_a_value_without_json_is_refused() -> None:
    with pytest.raises(SerializationError):
        success_record("i1", object(), done_at=0.0)


def test_a_record_of_a_celery_worker_is_read() -> None:
    record = decode_record(
        b'{"status": "SUCCESS", "result": {"__type__": "date", "__value__": "2026-01-02"}, "traceback": null,'
        b' "children": [[["c30a", null], null]], "date_done": "2026-01-02T00:00:00+00:00", "task_id": "i1",'
        b' "name": "shop.add", "worker": "w@h"}'
    )

    assert str(record.value()) == "2026-01-02"
    assert record.exception() is None


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"status": 5}', b"\xff"])
def test_bytes_that_are_no_record_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_record(data)


def test_a_failure_without_exception_is_refused() -> None:
    record = decode_record(failure_record("i1", ValueError("x"), done_at=0.0).replace(b"FAILURE", b"SUCCESS"))
    record.status = "FAILURE"
    record.result = type(record.result)(b"5")

    with pytest.raises(ProtocolError):
        record.exception()


def test_final_states_are_those_after_which_nothing_runs() -> None:
    assert {state for state in TaskState if state.is_final} == {
        TaskState.SUCCESS,
        TaskState.FAILURE,
        TaskState.REVOKED,
    }


def test_the_record_of_celerys_rpc_backend_has_no_date() -> None:
    record = decode_record(b'{"task_id":"a","status":"SUCCESS","result":1,"traceback":null,"children":[]}')

    assert (record.value(), record.date_done) == (1, None)


def test_a_record_names_its_date_even_if_it_has_none() -> None:
    assert b'"date_done":null' in state_record("a", "PROGRESS", 1)
