"""Whatever a message holds, the worker has a verdict on it and the executor a reply: nothing raises."""

from __future__ import annotations

import logging

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskd import App
from taskd.base.errors import ProtocolError
from taskd.base.safe_text import storable
from taskd.brokers.dead import task_name
from taskd.consumer.claiming import strategy
from taskd.consumer.request import WorkerRequest
from taskd.consumer.settling import decided_ends
from taskd.execution.native.execute import Executor
from taskd.protocol import execution
from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import Assignment, Cause, End, decode_reply
from taskd.protocol.message import TaskHeaders, decode_headers
from taskd.protocol.results import decode_record
from taskd.revocations.known import By, Revocations
from taskd.sending.options import TaskOptions
from tests import fuzzing

NOW_AT = 1_800_000_000.0
app = App(broker="memory://unused", results="null://")


@app.task(name="fuzz.any")
def take_any(*args: object, **kwargs: object) -> None:
    """Take whatever comes."""


TASKS = {"fuzz.any": TaskOptions(name="fuzz.any")}
REVOKED = Revocations()
REVOKED[By.STAMP].add(["a=1"], 0.0)
REVOKED[By.NAME].add(["fuzz.other"], 0.0)
execute = Executor(app, "fuzz@here")


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


def delivery(headers: bytes, body: bytes = b"[[],{},{}]", kind: tuple[str, str] = fuzzing.PLAIN) -> Delivery:
    return Delivery(1, "default", "", headers, body, *kind, 0, 1, 0, "", "", "", "")


def is_text(text: str) -> bool:
    """Whether a database, a log and a terminal can take it."""
    return bool(text) and text.encode("utf-8").decode() == text


def read_or_refused(headers: bytes) -> TaskHeaders | str:
    """Return the headers, or the reason why they are refused."""
    try:
        return decode_headers(headers)
    except ProtocolError as error:
        return str(error)


@pytest.mark.parametrize("name", fuzzing.HEADERS)
@pytest.mark.parametrize("value", fuzzing.LIES, ids=lambda value: ascii(value)[:40])
def test_a_header_that_lies_is_read_or_refused_with_a_reason(name: str, value: object) -> None:
    for escaped in (True, False):
        check(fuzzing.encoded({"task": "fuzz.any", "id": "1", name: value}, escaped=escaped))


@settings(max_examples=fuzzing.times(200))
@given(fuzzing.headers())
def test_headers_are_read_or_refused_with_a_reason(headers: bytes) -> None:
    check(headers)


def check(headers: bytes) -> None:
    """Check what the rest of the worker relies on."""
    read = read_or_refused(headers)
    if isinstance(read, str):
        assert is_text(storable(read))
        return
    assert is_text(read.task)
    assert is_text(read.id)
    for at in (read.eta_at, read.expires_at):
        assert at is None or -1e12 < at < 1e12
    for limit_s in (read.hard_limit_s, read.soft_limit_s):
        assert 0.0 <= limit_s <= 4e9
    assert 0 <= read.retries < 2**31


@settings(max_examples=fuzzing.times(200))
@given(fuzzing.headers())
def test_every_message_gets_a_verdict_that_can_be_carried_out(headers: bytes) -> None:
    verdict = strategy.decide(delivery(headers), TASKS, REVOKED, NOW_AT)

    match verdict:
        case strategy.Runnable():
            request = WorkerRequest(delivery(headers), verdict.headers, verdict.options, 1)
            assert isinstance(request.keeps_result, bool)
        case strategy.Malformed(reason):
            assert is_text(storable(reason))
        case strategy.Unknown(read):
            assert decode_record(decided_ends.unknown(read).record).status == "FAILURE"
        case strategy.Expired(read) | strategy.Revoked(read):
            assert decode_record(decided_ends.revoked(read, Cause.EXPIRED).record).status == "REVOKED"
        case strategy.NotDue(due_at):
            assert NOW_AT < due_at < 1e12


@settings(max_examples=fuzzing.times(200))
@given(fuzzing.headers(), fuzzing.bodies(), fuzzing.content_types)
def test_every_message_ends_in_a_reply_of_the_executor(
    headers: bytes, body: bytes, kind: tuple[str, str]
) -> None:
    work = Assignment(Delivery(1, "default", "", headers, body, *kind))

    reply = decode_reply(execute(execution.encode(work)))

    assert reply.end in (End.SUCCEEDED, End.FAILED, End.REJECTED)
    if reply.end is End.REJECTED:
        assert is_text(storable(reply.text))
    if reply.record:
        assert decode_record(reply.record).status in ("SUCCESS", "FAILURE")


@settings(max_examples=fuzzing.times(100))
@given(fuzzing.headers())
def test_any_headers_have_a_name_to_list_or_none(headers: bytes) -> None:
    name = task_name(headers)

    assert name == "" or is_text(name)


@settings(max_examples=fuzzing.times(50))
@given(st.sampled_from(["task", "id", "retries", "timelimit", "eta", "expires"]), fuzzing.json_values)
def test_a_reason_names_the_header_that_lies(name: str, value: object) -> None:
    headers = {"task": "fuzz.any", "id": "1", name: value}
    try:
        data = msgspec.json.encode(headers)
    except UnicodeEncodeError:
        return  # a lone surrogate, which the other tests send
    read = read_or_refused(data)
    assert not isinstance(read, str) or name in read


def test_a_body_of_15_megabytes_is_run_or_refused_and_a_larger_one_is_refused() -> None:
    large = b'[["' + b"x" * 15_000_000 + b'"],{},{}]'
    headers = b'{"task": "fuzz.any", "id": "1"}'

    ran = execute.execute(Assignment(Delivery(1, "default", "", headers, large, *fuzzing.PLAIN)))
    torn = execute.execute(Assignment(Delivery(1, "default", "", headers, large[:-5], *fuzzing.PLAIN)))

    assert ran.end is End.SUCCEEDED
    assert torn.end is End.REJECTED
    assert len(torn.text) < 1000
    larger = large.replace(b'"]', b"x" * 3_000_000 + b'"]')
    refused = execute.execute(Assignment(Delivery(1, "default", "", headers, larger, *fuzzing.PLAIN)))
    assert refused.end is End.REJECTED
    assert "max_message_size" in refused.text
