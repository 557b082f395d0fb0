"""The verdict on one delivery."""

from __future__ import annotations

import json

import pytest

from taskd.consumer.claiming.strategy import (
    Expired,
    Malformed,
    NotDue,
    Revoked,
    Runnable,
    Unknown,
    Verdict,
    decide,
)
from taskd.protocol.delivery import Delivery
from taskd.revocations.known import By, Revocations
from taskd.sending.options import TaskOptions

NOW_AT = 1_800_000_000.0
TASKS = {"shop.report": TaskOptions(name="shop.report")}


def delivery(headers: object) -> Delivery:
    data = headers if isinstance(headers, bytes) else json.dumps(headers).encode()
    return Delivery(
        1, "default", "id-1", data, b"[[],{},{}]", "application/json", "utf-8", 0, 1, 0, "", "", "", ""
    )


def verdict_on(revoked: tuple[str, ...] = (), **headers: object) -> Verdict:
    base: dict[str, object] = {"lang": "py", "task": "shop.report", "id": "id-1"}
    known = Revocations()
    known[By.ID].add(revoked, now=0.0)
    return decide(delivery({**base, **headers}), TASKS, known, NOW_AT)


def test_a_plain_message_runs() -> None:
    verdict = verdict_on()

    assert isinstance(verdict, Runnable)
    assert verdict.options is TASKS["shop.report"]


def test_a_task_that_nobody_registered_is_unknown() -> None:
    assert isinstance(verdict_on(task="shop.nothing"), Unknown)


def test_a_message_past_its_time_is_expired() -> None:
    assert isinstance(verdict_on(expires="2020-01-01T00:00:00+00:00"), Expired)


def test_a_revoked_id_does_not_run() -> None:
    assert isinstance(verdict_on(revoked=("id-1",)), Revoked)


def test_a_message_before_its_eta_goes_back_until_then() -> None:
    verdict = verdict_on(eta="2027-01-15T08:00:10+00:00")

    assert verdict == NotDue(1_800_000_010.0)


def test_expiry_is_asked_before_revocation_and_eta() -> None:
    verdict = verdict_on(
        revoked=("id-1",), expires="2020-01-01T00:00:00+00:00", eta="2028-01-01T00:00:00+00:00"
    )

    assert isinstance(verdict, Expired)


@pytest.mark.parametrize(
    "headers",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{",
        b'{"id": "x"}',
        b'{"task": 5, "id": "x"}',
        b'{"task": "shop.report"}',
        b'{"task": "shop.report", "id": "x", "eta": "soon"}',
        b'{"task": "shop.report", "id": "x", "expires": {"a": 1}}',
        b'{"task": "shop.report", "id": "x", "retries": -1}',
        b'{"task": "shop.report", "id": "x", "timelimit": "long"}',
        b"[" * 100_000,
    ],
)
def test_headers_that_lie_or_are_none_are_malformed(headers: bytes) -> None:
    verdict = decide(delivery(headers), TASKS, Revocations(), NOW_AT)

    assert isinstance(verdict, Malformed)
    assert verdict.reason
