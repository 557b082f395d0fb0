"""What follows a task: callbacks and errbacks in the reply."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from taskd import App
from taskd.app.bound import BoundTask
from taskd.app.control_flow import Ignore, Reject
from taskd.app.task import Sendable
from taskd.base import clock
from taskd.execution.native.execute import Executor
from taskd.protocol.execution import Assignment, End, decode_reply, encode
from taskd.protocol.message import decode_body, decode_headers, encode_body
from taskd.protocol.results import child_ids
from taskd.sending.callbacks import Aftermath, after_failure, messages_of
from taskd.sending.calls import build_message
from taskd.sending.request import Request
from taskd.sending.signature import read_signatures
from tests.unit.executing import assignment_of, run


@pytest.fixture
def app() -> App:
    app = App(broker="memory://unused")

    @app.task(name="note", queue="mail", priority=3)
    def note(*args: object, **kwargs: object) -> None: ...

    @app.task(name="double")
    def double(x: int) -> int:
        return 2 * x

    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("x")

    return app


def note_in(app: App) -> Sendable[..., Any]:
    found = app.tasks["note"]
    assert isinstance(found, Sendable)
    return found


def _parts(message: Any) -> tuple[Any, ...]:
    args, kwargs, embed = decode_body(message.body, message.content_type)
    return decode_headers(message.headers), args, kwargs, embed


def test_a_callback_gets_the_result_first(app: App) -> None:
    note = note_in(app)
    reply = run(
        app,
        assignment_of(
            app.tasks["double"], (4,), task_id="i", link=note.s("x", y=1), changes={"root_id": "r"}
        ),
    )

    assert reply.end is End.SUCCEEDED
    (message,) = reply.callbacks
    headers, args, kwargs, _ = _parts(message)
    assert (headers.task, args, kwargs) == ("note", [8, "x"], {"y": 1})
    assert (headers.root_id, headers.parent_id) == ("r", "i")
    assert (message.exchange, message.routing_key, message.priority) == ("", "mail", 3)
    assert message.task_id == headers.id != "i"


def test_an_immutable_callback_gets_its_own_arguments_alone(app: App) -> None:
    reply = run(app, assignment_of(app.tasks["double"], (4,), link=[note_in(app).si(1)]))

    assert _parts(reply.callbacks[0])[1] == [1]


def test_callbacks_and_errbacks_do_not_mix(app: App) -> None:
    note = note_in(app)
    links: dict[str, Any] = {"link": [note.s("ok"), note.s("too")], "link_error": [note.s("bad")]}

    well = run(app, assignment_of(app.tasks["double"], (4,), **links))
    badly = run(app, assignment_of(app.tasks["fail"], task_id="i", **links))

    assert [_parts(message)[1] for message in well.callbacks] == [[8, "ok"], [8, "too"]]
    assert badly.end is End.FAILED
    assert [_parts(message)[1] for message in badly.callbacks] == [["i", "bad"]]


@pytest.mark.parametrize("error", [Ignore(), Reject("no")])
def test_a_task_that_did_not_end_calls_nobody(app: App, error: Exception) -> None:
    @app.task(name="odd")
    def odd() -> None:
        raise error

    note = note_in(app)
    assert run(app, assignment_of(odd, link=note.s(), link_error=note.s())).callbacks == []


def test_a_retry_keeps_what_is_linked_even_with_new_arguments(app: App) -> None:
    @app.task(bind=True, name="fetch")
    def fetch(self: BoundTask, x: int) -> None:
        self.retry(args=(x + 1,))

    reply = run(app, assignment_of(fetch, (1,), link=note_in(app).s()))

    assert reply.callbacks == []
    _, args, _, embed = _parts(reply.retry)
    assert args == [2]
    assert embed["callbacks"][0]["task"] == "note"


def test_a_callback_has_options_and_links_of_its_own(app: App) -> None:
    note = note_in(app)
    eta = datetime.now(timezone.utc) + timedelta(hours=1)
    linked = note.s().with_options(
        queue="slow", priority=9, eta=eta, task_id="fixed", link=note.si("then"), headers={"x-tenant": 7}
    )

    (message,) = run(app, assignment_of(app.tasks["double"], (4,), link=linked)).callbacks

    headers, _, _, embed = _parts(message)
    assert (message.routing_key, message.priority, message.task_id) == ("slow", 9, "fixed")
    assert message.due_at == eta.timestamp()
    assert json.loads(message.headers)["x-tenant"] == 7
    assert headers.id == "fixed"
    assert embed["callbacks"][0]["immutable"] is True


def test_a_signature_of_celery_is_followed_where_it_leads(app: App) -> None:
    celerys: dict[str, object] = {
        "task": "elsewhere.report",
        "args": [],
        "kwargs": {},
        "options": {"exchange": "reports", "routing_key": "daily", "countdown": 60, "expires": 90},
        "subtask_type": None,
        "immutable": False,
    }
    before = clock.now()
    (message,) = run(app, assignment_of(app.tasks["double"], (4,), link=celerys)).callbacks

    assert (message.exchange, message.routing_key) == ("reports", "daily")
    expires_at = decode_headers(message.headers).expires_at
    assert message.due_at is not None
    assert before + 60 <= message.due_at < before + 70
    assert expires_at is not None
    assert expires_at > before + 89


def test_a_callback_whose_result_json_lacks_makes_a_failure_that_calls_errbacks(app: App) -> None:
    @app.task(name="odd", ignore_result=True)
    def odd() -> set[int]:
        return {1, 2}

    note = note_in(app)
    reply = run(app, assignment_of(odd, task_id="i", link=note.s(), link_error=note.s()))

    assert reply.end is End.FAILED
    assert [_parts(message)[1] for message in reply.callbacks] == [["i"]]


def test_an_errback_of_three_parameters_is_called_with_what_celery_gives_it(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    @app.task(name="tell")
    def tell(request: Request, exc: Exception, traceback: str, *, more: object = None) -> None:
        seen.append((request.id, repr(exc), traceback.splitlines()[-1], more))

    @app.task(name="wrong")
    def wrong(request: object, exc: object, traceback: object) -> None:
        raise OSError("down")

    @app.task(name="later", bind=True)
    def later(self: BoundTask, request: object, exc: object) -> None: ...

    immutable = tell.si()  # type: ignore[call-arg]
    links = [wrong.s(), tell.s(more=1), later.s(), immutable]
    reply = run(app, assignment_of(app.tasks["fail"], task_id="i", link_error=links))

    assert seen == [("i", "ValueError('x')", "ValueError: x", 1)]
    assert "errback wrong failed" in caplog.text
    assert [(head.task, args) for head, args, _, _ in map(_parts, reply.callbacks)] == [
        ("later", ["i"]),
        ("tell", []),
    ]


def test_an_errback_that_cannot_be_sent_leaves_the_failure_as_it_is(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = {"task": "note", "options": {"priority": 99}}
    reply = run(app, assignment_of(app.tasks["fail"], task_id="i", link_error=wrong))

    assert (reply.end, reply.callbacks) == (End.FAILED, [])
    assert "task=fail id=i errbacks not sent" in caplog.text


@pytest.mark.parametrize("link", [{"args": []}, {"task": "a", "subtask_type": "chord"}])
def test_what_no_worker_would_accept_is_not_sent(app: App, link: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match='task "double": link'):
        build_message(app.tasks["double"].settings, (1,), {}, link=link)


def test_a_message_with_a_link_to_a_chord_is_dead_lettered(app: App) -> None:
    body = encode_body((4,), {}, {"callbacks": [{"task": "celery.chord", "subtask_type": "chord"}]})
    reply = run(app, assignment_of(app.tasks["double"], body=body))

    assert reply.end is End.REJECTED
    assert "a chord has a header" in reply.text


def test_asyncio_runs_send_callbacks_too(app: App) -> None:
    payload = encode(assignment_of(app.tasks["double"], (4,), link=note_in(app).s()))
    reply = decode_reply(asyncio.run(Executor(app, "w@h").acall(payload)))

    assert [_parts(message)[1] for message in reply.callbacks] == [[8]]


def test_the_parent_finds_the_errbacks_of_a_task_whose_process_died(app: App) -> None:
    note = note_in(app)
    sent = build_message(app.tasks["double"].settings, (1,), {}, task_id="i", link_error=note.s("dead"))
    plain = build_message(app.tasks["double"].settings, (1,), {})
    headers = decode_headers(sent.headers)

    (message,) = after_failure(headers, sent.body, "application/json").errbacks

    assert _parts(message)[1] == ["i", "dead"]
    assert (message.routing_key, _parts(message)[0].parent_id) == ("mail", "i")
    assert after_failure(headers, plain.body, "application/json") == Aftermath()
    assert after_failure(headers, b"\xff", "application/json") == Aftermath()


@pytest.mark.parametrize(
    "options",
    [
        {"countdown": 1e300},
        {"expires": 1e300},
        {"priority": -1},
        {"queue": "\ud800"},
        {"exchange": "\ud800"},
        {"task_id": "\ud800"},
        {"eta": "9999-12-31T00:00:00"},
        {"link": 7},
        {"headers": {"x": "\ud800"}, "countdown": 1e300},
    ],
)
def test_nothing_that_a_sender_writes_into_a_signature_ends_the_worker(
    app: App, options: dict[str, Any]
) -> None:
    signature = {"task": "note", "options": options}
    body = encode_body((4,), {}, {"callbacks": [signature], "errbacks": [signature]})

    reply = run(app, assignment_of(app.tasks["double"], body=body, task_id="i"))

    assert reply.end in (End.FAILED, End.REJECTED)
    assert reply.callbacks == []
    headers = decode_headers(b'{"task": "double", "id": "i"}')
    assert not after_failure(headers, body, "application/json").errbacks


def test_a_time_without_zone_is_utc_as_in_celery() -> None:
    headers = decode_headers(b'{"task": "a", "id": "i"}')
    (signature,) = read_signatures({"task": "b", "options": {"eta": "2100-01-01T00:00:00"}}, "link")

    (message,) = messages_of([signature], 1, headers)

    assert message.due_at == datetime(2100, 1, 1, tzinfo=timezone.utc).timestamp()


def _step(task: str, task_id: str, **options: object) -> dict[str, Any]:
    return {"task": task, "args": [], "kwargs": {}, "options": {"task_id": task_id, **options}}


def test_the_next_step_of_a_chain_is_sent_with_the_rest_of_it(app: App) -> None:
    chain = [_step("third", "i3"), _step("second", "i2", reply_to="box", shadow="shown")]
    body = encode_body((4,), {}, {"chain": chain})

    reply = run(app, assignment_of(app.tasks["double"], body=body, task_id="i1", changes={"root_id": "r"}))

    (message,) = reply.callbacks
    headers, args, _, embed = _parts(message)
    assert (headers.id, headers.task, headers.parent_id, headers.root_id) == ("i2", "second", "i1", "r")
    assert (args, embed["chain"]) == ([8], chain[:1])
    assert (message.reply_to, headers.shadow) == ("box", "shown")
    assert json.loads(reply.record)["children"] == [[["i2", None], None]]


def test_a_step_that_names_no_queue_goes_to_the_one_that_its_predecessor_came_from(app: App) -> None:
    chain = [_step("note", "i4"), _step("elsewhere", "i3"), _step("double", "i2", queue="slow")]
    queues = []
    while chain:
        payload = assignment_of(app.tasks["double"], body=encode_body((1,), {}, {"chain": chain}))
        (message,) = run(app, Assignment(msgspec.structs.replace(payload.delivery, queue="celery"))).callbacks
        queues.append(message.routing_key)
        chain.pop()

    assert queues == ["slow", "celery", "mail"]


def test_the_members_of_a_group_are_all_sent_as_such(app: App) -> None:
    members = [_step("a", "i2", group_id="g", group_index=0), _step("b", "i3", group_id="g", group_index=1)]
    group = {"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": members}}

    reply = run(app, assignment_of(app.tasks["double"], body=encode_body((4,), {}, {"chain": [group]})))

    sent = [_parts(message) for message in reply.callbacks]
    assert [(headers.id, headers.group, headers.group_index) for headers, *_ in sent] == [
        ("i2", "g", 0),
        ("i3", "g", 1),
    ]
    assert [args for _, args, *_ in sent] == [[8], [8]]


def test_a_failure_ends_the_rest_of_the_chain_too(app: App) -> None:
    chain = [_step("third", "i3"), _step("second", "i2")]

    reply = run(app, assignment_of(app.tasks["fail"], body=encode_body((), {}, {"chain": chain})))

    assert (reply.end, reply.callbacks) == (End.FAILED, [])
    assert sorted(reply.given_up) == ["i2", "i3"]


def test_the_stamps_of_a_signature_go_on(app: App) -> None:
    signature = _step("note", "i2", stamped_headers=["tenant"], tenant="acme")

    reply = run(
        app, assignment_of(app.tasks["double"], body=encode_body((4,), {}, {"callbacks": [signature]}))
    )

    headers = _parts(reply.callbacks[0])[0]
    assert (headers.stamped_headers, headers.stamps) == (["tenant"], {"tenant": "acme"})


def test_tasks_that_a_task_sends_are_its_children() -> None:
    app = App(broker="memory://children", results="memory://children")

    @app.task(name="family")
    def family() -> list[str]:
        sent = [app.send_task("a", task_id="i2"), *app.send_many([app.call("b").with_options(task_id="i3")])]
        return [each.id for each in sent]

    reply = run(app, assignment_of(family))

    assert child_ids(json.loads(reply.record)["children"]) == ["i2", "i3"]
    app.close()
