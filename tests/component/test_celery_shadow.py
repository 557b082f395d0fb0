"""Messages of a Celery app are judged as the worker would have taken them, and none of them runs."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from celery import Celery, current_app
from kombu.serialization import register, unregister

from taskd import __version__
from taskd.base import clock
from taskd.execution.celery.reading import CeleryReader
from taskd.protocol.delivery import Delivery
from taskd.protocol.shadow import Judgement, MessageFate, Sighting, framed, read_judgements, read_ready
from taskd.worker.shadow import answer, judged
from tests.component.celery_messages import delivery_of
from tests.system.celery_client import CELERYS_WARNINGS

pytestmark = CELERYS_WARNINGS
_numbers = itertools.count(1)
NOW = datetime.now(timezone.utc)


def _must_not_run(*_args: object) -> None:
    pytest.fail("it ran")


@pytest.fixture
def app() -> Iterator[Any]:
    """A Celery app with a task that must not run."""
    former = current_app._get_current_object()
    made = Celery(f"shadowed-{next(_numbers)}", broker="memory://", set_as_current=True)

    made.task(name="yard.add", acks_late=True, time_limit=60, shared=False)(_must_not_run)
    yield made
    made.close()
    former.set_current()


def verdict(app: Any, delivery: Delivery) -> Judgement:
    return judged(Sighting(delivery, clock.now()), CeleryReader(app))


@pytest.mark.parametrize(
    ("options", "fate"),
    [
        ({}, MessageFate.RUN),
        ({"compression": "zlib"}, MessageFate.RUN),
        ({"eta": NOW + timedelta(hours=1)}, MessageFate.WAIT),
        ({"eta": NOW - timedelta(hours=1)}, MessageFate.RUN),
        ({"expires": NOW - timedelta(hours=1)}, MessageFate.END),
        ({"eta": NOW + timedelta(hours=2), "expires": NOW + timedelta(hours=1)}, MessageFate.END),
        ({"eta": NOW + timedelta(hours=1), "expires": NOW + timedelta(hours=2)}, MessageFate.WAIT),
    ],
)
def test_a_task_of_the_app_runs_at_its_time(app: Any, options: dict[str, Any], fate: MessageFate) -> None:
    found = verdict(app, delivery_of(app, "yard.add", (1, 2), **options))

    assert (found.task, found.fate, found.queue) == ("yard.add", fate, "celery")
    assert found.sender


def test_an_unknown_name_is_not_known(app: Any) -> None:
    found = verdict(app, delivery_of(app, "yard.gone", (1,)))

    assert (found.task, found.fate) == ("yard.gone", MessageFate.UNKNOWN)


def test_what_the_app_does_not_accept_is_refused_and_what_it_accepts_runs(app: Any) -> None:
    message = delivery_of(app, "yard.add", (1, 2), serializer="pickle")

    refused = verdict(app, message)
    app.conf.accept_content = ["json", "pickle"]

    assert refused.fate is MessageFate.REFUSE
    assert "pickle" in refused.reason
    assert verdict(app, message).fate is MessageFate.RUN


class Thrower:
    """Fails the test where it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("it was read",)


def test_pickle_that_the_app_accepts_is_not_read(app: Any) -> None:
    app.conf.accept_content = ["json", "pickle"]

    assert (
        verdict(app, delivery_of(app, "yard.add", (Thrower(),), serializer="pickle")).fate is MessageFate.RUN
    )


def test_a_serializer_of_the_app_itself_is_asked(app: Any) -> None:
    register(
        "backwards",
        lambda value: json.dumps(value)[::-1],
        lambda text: json.loads(text[::-1]),
        "application/x-back",
    )
    try:
        app.conf.accept_content = ["application/x-back"]
        message = delivery_of(app, "yard.add", (1,), serializer="backwards")
        assert verdict(app, message).fate is MessageFate.RUN
        assert verdict(app, msgspec.structs.replace(message, body=b"?")).fate is MessageFate.REFUSE
    finally:
        unregister("backwards")


@pytest.mark.parametrize("body", [b"[1]", b'"x"', b"[[],{},{},{}]", b'[{"a": 1}, {}, {}]', b"\xff"])
def test_a_body_that_is_not_of_a_task_is_refused(app: Any, body: bytes) -> None:
    message = msgspec.structs.replace(delivery_of(app, "yard.add"), body=body)

    assert verdict(app, message).fate is MessageFate.REFUSE


@pytest.mark.parametrize(
    ("headers", "task"),
    [(b"", ""), (b"[]", ""), (b"{}", ""), (b'{"task": "yard.add", "id": "i", "eta": "soon"}', "yard.add")],
)
def test_headers_that_are_not_clear_are_refused(app: Any, headers: bytes, task: str) -> None:
    message = msgspec.structs.replace(delivery_of(app, "yard.add"), headers=headers)

    found = verdict(app, message)

    assert (found.task, found.fate) == (task, MessageFate.REFUSE)
    assert found.reason


def test_a_message_of_protocol_1_runs(app: Any) -> None:
    body = {"task": "yard.add", "id": "id-1", "args": [1, 2], "kwargs": {}}
    message = msgspec.structs.replace(
        delivery_of(app, "yard.add"), headers=b"{}", body=json.dumps(body).encode()
    )

    assert verdict(app, message).fate is MessageFate.RUN


def test_a_sender_is_a_host_or_a_language(app: Any) -> None:
    def sender(**headers: object) -> str:
        return verdict(app, delivery_of(app, "yard.add", headers=headers)).sender

    assert sender(origin="gen7@web1") == "web1"
    assert sender(origin="php") == "php"
    assert sender(origin=None, lang="js") == "a sender in js"
    assert sender(origin=None, lang=7) == ""


class Kept(io.BytesIO):
    """Output that can be read when it was closed."""

    def close(self) -> None:
        self.seek(0)


def test_the_program_answers_batch_after_batch(app: Any) -> None:
    sightings = [Sighting(delivery_of(app, name), clock.now()) for name in ("yard.add", "yard.gone")]
    orders = io.BytesIO(framed(sightings) + framed([]) + framed(sightings[:1]))
    answers = Kept()

    answer(CeleryReader(app), io.BufferedReader(orders), io.BufferedWriter(answers))

    answers.seek(0)
    ready = read_ready(answers.read)
    assert (ready.release, ready.tasks["yard.add"]) == (__version__, "acks late, limit 60 s")
    batches = [[each.fate for each in read_judgements(answers.read)] for _ in range(3)]
    assert batches == [[MessageFate.RUN, MessageFate.UNKNOWN], [], [MessageFate.RUN]]
