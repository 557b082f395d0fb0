"""What a Celery app is told of the ends that the worker decides: its backend, its signals, its handlers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, chain, chord, signals
from celery.app.task import Context
from celery.exceptions import (
    BackendStoreError,
    ChordError,
    InvalidTaskError,
    NotRegistered,
    TaskRevokedError,
    TimeLimitExceeded,
    WorkerLostError,
)
from kombu.compression import compress
from kombu.serialization import dumps

from taskd.consumer.settling import decided_ends
from taskd.execution.celery.ends import take_end
from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import Cause, DecidedEnd, End
from taskd.protocol.message import TaskHeaders, decode_headers

Make = Callable[[TaskHeaders], DecidedEnd]

UNKNOWN: Make = decided_ends.unknown
LOST: Make = lambda headers: decided_ends.child_lost(headers, "signal 9 (SIGKILL)")  # noqa: E731
TIMED_OUT: Make = lambda headers: decided_ends.timed_out(headers, 3.0)  # noqa: E731
BROKEN: Make = lambda headers: decided_ends.broken(headers, "Traceback of the executor")  # noqa: E731
MALFORMED: Make = lambda headers: decided_ends.malformed(headers, "the eta is not a time")  # noqa: E731
REVOKED: Make = lambda headers: decided_ends.revoked(headers, Cause.REVOKED)  # noqa: E731
TERMINATED: Make = lambda headers: decided_ends.revoked(headers, Cause.TERMINATED, 15)  # noqa: E731
EXPIRED: Make = lambda headers: decided_ends.revoked(headers, Cause.EXPIRED)  # noqa: E731


class Shop:
    """A Celery app over memory, the messages that it sends, and what it hears."""

    def __init__(self) -> None:
        self.app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
        self.sent: list[Delivery] = []
        self.heard: list[tuple[str, dict[str, Any]]] = []
        app = self.app

        @app.task(name="pack", shared=False)  # type: ignore[untyped-decorator]
        def pack(*args: object, **kwargs: object) -> object:
            return args

        @app.task(name="quiet", ignore_result=True, shared=False)  # type: ignore[untyped-decorator]
        def quiet() -> None: ...

        @app.task(name="told", shared=False)  # type: ignore[untyped-decorator]
        def told(request: Context, error: Exception, traceback: object) -> None:
            self.heard.append(("errback", {"request": request, "error": error}))

        app.finalize()
        self.app.amqp.send_task_message = self._keep  # what a client sends, the test takes

    def _keep(self, _producer: object, name: str, message: Any, **options: Any) -> None:
        content_type, encoding, body = dumps(message.body, self.app.conf.task_serializer)
        headers = json.dumps({**message.headers, **(options.get("headers") or {})}).encode()
        written = body if isinstance(body, bytes) else body.encode()
        self.sent.append(
            Delivery(
                *(len(self.sent), "celery", message.headers["id"], headers, written, content_type, encoding),
                reply_to=message.properties["reply_to"] or "",
                correlation_id=message.properties["correlation_id"],
            )
        )

    def task(self, name: str) -> Any:
        return self.app.tasks[name]

    def take(self, make: Make, delivery: Delivery | None = None) -> End:
        delivery = delivery or self.sent[-1]
        return take_end(self.app, delivery, make(decode_headers(delivery.headers)), "w1@here").end

    def listen(self, *names: str) -> None:
        for name in names:
            getattr(signals, name).connect(self._hearing(name), weak=False)

    def _hearing(self, name: str) -> Callable[..., None]:
        def hear(**said: Any) -> None:
            self.heard.append((name, said))

        return hear

    def said(self, name: str) -> dict[str, Any]:
        return next(said for heard, said in self.heard if heard == name)


@pytest.fixture
def shop() -> Iterator[Shop]:
    hearing = (signals.task_failure, signals.task_revoked, signals.task_unknown, signals.task_rejected)
    before = [list(signal.receivers) for signal in (*hearing, signals.task_retry)]
    yield Shop()
    for signal, receivers in zip((*hearing, signals.task_retry), before, strict=True):
        signal.receivers = receivers
        signal.sender_receivers_cache.clear()


@pytest.mark.parametrize(
    ("make", "state", "error"),
    [
        (LOST, "FAILURE", WorkerLostError("Worker exited prematurely: signal 9 (SIGKILL)")),
        (TIMED_OUT, "FAILURE", TimeLimitExceeded(3.0)),
        (BROKEN, "FAILURE", WorkerLostError("the executor failed on this task")),
        (UNKNOWN, "FAILURE", NotRegistered("pack")),
        (MALFORMED, "FAILURE", InvalidTaskError("the eta is not a time")),
        (REVOKED, "REVOKED", TaskRevokedError("revoked")),
        (TERMINATED, "REVOKED", TaskRevokedError("terminated")),
        (EXPIRED, "REVOKED", TaskRevokedError("expired")),
    ],
)
def test_the_backend_has_each_end_as_celery_would_store_it(
    shop: Shop, make: Make, state: str, error: Exception
) -> None:
    sent = shop.task("pack").delay(1)

    assert shop.take(make) is End.IGNORED
    assert sent.state == state
    assert (type(sent.result), sent.result.args) == (type(error), error.args)
    assert shop.take(make) is End.IGNORED


def test_receivers_hear_of_a_failure_with_the_request_in_reach(shop: Shop) -> None:
    shop.listen("task_failure")
    seen = []
    signals.task_failure.connect(
        lambda sender, **_: seen.append((sender.name, sender.request.id)), weak=False
    )
    sent = shop.task("pack").apply_async((1,), {"to": "me"})

    shop.take(LOST)

    said = shop.said("task_failure")
    assert (said["task_id"], said["args"], said["kwargs"]) == (sent.id, [1], {"to": "me"})
    assert isinstance(said["exception"], WorkerLostError)
    assert "Worker exited prematurely" in said["einfo"].traceback
    assert seen == [("pack", sent.id)]


def test_receivers_hear_of_a_revoked_task_with_a_request_of_the_worker(shop: Shop) -> None:
    shop.listen("task_revoked")
    sent = shop.task("pack").apply_async((1,), shadow="packing", headers={"tenant": "blue"})

    shop.take(TERMINATED)

    said = shop.said("task_revoked")
    request = said["request"]
    assert (said["sender"].name, said["terminated"], said["signum"], said["expired"]) == (
        "pack",
        True,
        15,
        False,
    )
    assert (request.id, request.task_id, request.name, request.type) == (sent.id, sent.id, "packing", "pack")
    assert (request.args, request.kwargs, request.argsrepr) == ([1], {}, "(1,)")
    assert (request.hostname, request.headers["tenant"]) == ("w1@here", "blue")
    assert request.info()["delivery_info"]["routing_key"] == "celery"
    assert request.message.payload[0] == [1]


@pytest.mark.parametrize(("make", "signal"), [(UNKNOWN, "task_unknown"), (MALFORMED, "task_rejected")])
def test_receivers_hear_of_messages_that_cannot_run(shop: Shop, make: Make, signal: str) -> None:
    shop.listen("task_unknown", "task_rejected")
    shop.task("pack").delay(1)

    shop.take(make)

    assert [name for name, _ in shop.heard] == [signal]
    said = shop.said(signal)
    assert said["message"].headers["task"] == "pack"
    assert said["sender"].hostname == "w1@here"


def test_an_unknown_task_is_answered_without_a_task_of_that_name(shop: Shop) -> None:
    sent = shop.app.send_task("missing", [1])

    assert shop.take(UNKNOWN) is End.IGNORED
    assert isinstance(sent.result, NotRegistered)


def test_results_that_nobody_asks_for_are_not_stored(shop: Shop) -> None:
    ignored = shop.task("quiet").delay()
    shop.take(LOST)
    wanted = shop.task("quiet").apply_async(ignore_result=False)
    shop.take(LOST)

    assert (ignored.state, wanted.state) == ("PENDING", "FAILURE")


@pytest.mark.parametrize("make", [LOST, TIMED_OUT, BROKEN, UNKNOWN, MALFORMED])
def test_errbacks_are_called_with_the_request_and_the_error(shop: Shop, make: Make) -> None:
    sent = shop.task("pack").apply_async(link_error=shop.task("told").s())

    shop.take(make)

    said = shop.said("errback")
    assert said["request"].id == sent.id
    assert isinstance(said["error"], Exception)


@pytest.mark.parametrize("make", [LOST, UNKNOWN, REVOKED, EXPIRED, MALFORMED])
def test_a_chord_ends_with_a_part_that_ends_so(shop: Shop, make: Make) -> None:
    pack = shop.task("pack")
    body = chord([pack.s(1), pack.s(2)], app=shop.app)(pack.s().on_error(shop.task("told").s()))
    parts = list(shop.sent)

    shop.app.backend.mark_as_done(
        parts[0].task_id, 1, Context({**json.loads(parts[0].headers), **_embed(parts[0])})
    )
    assert shop.take(make, parts[1]) is End.IGNORED

    assert isinstance(body.result, ChordError)
    assert shop.said("errback")["request"].id == body.id


def _embed(delivery: Delivery) -> dict[str, Any]:
    embed: dict[str, Any] = json.loads(delivery.body)[2]
    return embed


@pytest.mark.parametrize(("make", "state"), [(LOST, "FAILURE"), (REVOKED, "REVOKED")])
def test_the_rest_of_a_chain_ends_as_its_first_step(shop: Shop, make: Make, state: str) -> None:
    pack = shop.task("pack")
    last = chain(pack.s(1), pack.s(2), pack.s(3), app=shop.app).apply_async()

    shop.take(make)

    assert (last.state, last.parent.state, last.parent.parent.state) == (state, state, state)
    assert len(shop.sent) == 1


def test_handlers_of_the_task_hear_of_its_limit(shop: Shop) -> None:
    called = []
    task = shop.task("pack")
    type(task).on_failure = lambda _self, error, task_id, *_: called.append((type(error).__name__, task_id))
    type(task).after_return = lambda _self, state, *_: called.append(("after", state))
    sent = task.delay()

    shop.take(TIMED_OUT)

    assert called == [("TimeLimitExceeded", sent.id), ("after", "FAILURE")]


def test_a_handler_that_fails_does_not_undo_the_end(shop: Shop) -> None:
    shop.listen("task_failure")

    def fail(*_: object) -> None:
        raise RuntimeError("no")

    type(shop.task("pack")).on_failure = fail
    shop.task("pack").delay()

    assert shop.take(TIMED_OUT) is End.IGNORED
    assert shop.said("task_failure")


@pytest.mark.parametrize("body", [b"\xff\xfenonsense", b"{}", b"[1]", b"null"])
def test_a_body_that_cannot_be_read_does_not_keep_the_end_from_its_backend(shop: Shop, body: bytes) -> None:
    task_id = str(uuid4())
    headers = json.dumps({"task": "pack", "id": task_id, "lang": "py"}).encode()

    assert shop.take(LOST, Delivery(1, "celery", task_id, headers, body)) is End.IGNORED
    assert shop.app.AsyncResult(task_id).state == "FAILURE"


def test_a_body_of_a_serializer_that_the_app_does_not_accept_is_not_read(shop: Shop) -> None:
    task_id = str(uuid4())
    headers = json.dumps({"task": "pack", "id": task_id}).encode()
    delivery = Delivery(
        1, "celery", task_id, headers, b"cos\nsystem\n.", "application/x-python-serialize", "binary"
    )

    assert shop.take(REVOKED, delivery) is End.IGNORED
    assert isinstance(shop.app.AsyncResult(task_id).result, TaskRevokedError)


def test_a_compressed_body_is_read(shop: Shop) -> None:
    shop.listen("task_revoked")
    shop.task("pack").apply_async((7,))
    delivery = shop.sent[-1]
    body, name = compress(delivery.body, "gzip")
    headers = json.dumps({**json.loads(delivery.headers), "compression": name}).encode()

    shop.take(REVOKED, Delivery(1, "celery", delivery.task_id, headers, body))

    assert shop.said("task_revoked")["request"].args == [7]


def test_a_body_of_protocol_1_says_its_chord_and_errbacks(shop: Shop) -> None:
    task_id = str(uuid4())
    errback = dict(shop.task("told").s())
    body = json.dumps({"task": "pack", "id": task_id, "args": [1], "kwargs": {}, "errbacks": [errback]})
    headers = json.dumps({"task": "pack", "id": task_id}).encode()

    shop.take(LOST, Delivery(1, "celery", task_id, headers, body.encode()))

    assert shop.said("errback")["request"].args == [1]


def test_a_backend_that_is_away_is_asked_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = shop.task("pack").delay()

    def away(*_: object, **__: object) -> None:
        raise BackendStoreError("no route to host\nat all", task_id=sent.id, state="FAILURE")

    with monkeypatch.context() as patch:
        patch.setattr(shop.app.backend, "_store_result", away)
        headers = decode_headers(shop.sent[-1].headers)
        reply = take_end(shop.app, shop.sent[-1], TIMED_OUT(headers), "w1@here")
        assert reply.end is End.FAILED
        assert "no route to host at all" in reply.text
        assert "\n" not in reply.text

    assert shop.take(TIMED_OUT) is End.IGNORED
    assert sent.state == "FAILURE"


def test_a_chain_of_nonsense_is_refused_for_good(shop: Shop) -> None:
    sent = shop.task("pack").apply_async()
    delivery = shop.sent[-1]
    body = json.dumps([[], {}, {"chain": [{"options": 7}]}]).encode()

    taken = shop.take(LOST, Delivery(1, "celery", delivery.task_id, delivery.headers, body))

    assert taken is End.REJECTED
    assert sent.state == "FAILURE"


def test_arguments_that_the_backend_cannot_write_are_left_out(shop: Shop) -> None:
    shop.app.conf.update(result_extended=True, accept_content=["pickle", "json"], task_serializer="pickle")
    sent = shop.task("pack").apply_async((object(),))

    assert shop.take(LOST) is End.IGNORED
    assert sent.state == "FAILURE"


def test_a_success_that_was_told_before_the_death_stays(shop: Shop) -> None:
    shop.listen("task_failure")
    sent = shop.task("pack").delay()
    shop.app.backend.mark_as_done(sent.id, 7)

    assert shop.take(LOST) is End.IGNORED
    assert (sent.state, sent.result, shop.heard) == ("SUCCESS", 7, [])


def test_a_task_may_want_to_be_sent_again_when_its_process_dies(shop: Shop) -> None:
    shop.listen("task_retry", "task_failure")
    task = shop.task("pack")
    type(task).retry_on_worker_lost = True
    type(task).max_retries = 1
    sent = task.apply_async((1,))

    assert shop.take(LOST) is End.IGNORED
    again = shop.sent[-1]
    assert (again.task_id, json.loads(again.headers)["retries"], sent.state) == (sent.id, 1, "RETRY")
    assert [name for name, _ in shop.heard] == ["task_retry"]

    shop.take(LOST, again)
    assert (len(shop.sent), sent.state) == (2, "FAILURE")


def test_an_app_without_a_backend_hears_of_ends(shop: Shop) -> None:
    app = Celery("bare", broker="memory://", set_as_current=False)

    @app.task(name="pack", shared=False)  # type: ignore[untyped-decorator]
    def pack() -> None: ...

    app.finalize()
    shop.listen("task_failure")
    shop.task("pack").delay()
    headers = decode_headers(shop.sent[-1].headers)

    assert take_end(app, shop.sent[-1], LOST(headers), "w1@here").end is End.IGNORED
    assert shop.said("task_failure")["sender"].app is app
