"""The last record of a Celery task goes to the worker, as Celery made it, if that reaches the app's Redis."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, signals
from celery.app.trace import build_tracer
from celery.exceptions import Ignore
from kombu import pools

from taskd.base import clock
from taskd.config.stores import RedisConfig
from taskd.execution.celery.records import MOST_BYTES, HandedRecords
from taskd.execution.celery.running import CeleryExecutor
from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import Assignment, Reply
from taskd.results.base import StoredResult
from taskd.results.redis import RedisResults
from tests import services

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Stall:
    """A Celery app over Redis, and the executor of a worker whose results are kept at ``results``."""

    def __init__(self, url: str, results: str | None = None, **conf: Any) -> None:
        self.url = url
        self.app = app = Celery("stall", broker="memory://", backend=url, set_as_current=False)
        app.conf.update(conf)
        self.seen: list[object] = []

        @app.task(name="give", shared=False)  # type: ignore[untyped-decorator]
        def give(what: object) -> object:
            return what

        @app.task(name="fail", shared=False)  # type: ignore[untyped-decorator]
        def fail() -> None:
            raise ValueError("no")

        @app.task(name="told", shared=False)  # type: ignore[untyped-decorator]
        def told(*_: object) -> None: ...

        @app.task(name="marks", bind=True, shared=False)  # type: ignore[untyped-decorator]
        def marks(self: Any, *marks: str) -> None:
            for state in marks:
                self.update_state(state=state, meta={"exc_type": "ValueError", "exc_message": ["by hand"]})
            raise Ignore

        app.finalize()
        for name, task in app.tasks.items():
            task.__trace__ = build_tracer(name, task, app.loader, "w1@here", app=app)
        self.results = RedisResults(url, RedisConfig())
        self.executor = CeleryExecutor(app, "w1@here", {}, None, HandedRecords(results or url))

    def __enter__(self) -> Stall:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.results.close()
        self.app.backend.client.close()
        self.app.backend.client.connection_pool.disconnect()
        self.app.close()
        pools.reset()

    def run(
        self, name: str, *args: object, task_id: str = "", deliveries: int = 1, **embed: object
    ) -> tuple[Reply, Any]:
        task_id = task_id or str(uuid4())
        headers: dict[str, object] = {"lang": "py", "task": name, "id": task_id, "root_id": task_id}
        headers |= {key: embed.pop(key) for key in ("group", "group_index") if key in embed}
        linked: dict[str, object] = {
            "callbacks": None,
            "errbacks": None,
            "chain": None,
            "chord": None,
            **embed,
        }
        delivery = Delivery(
            1,
            "celery",
            task_id,
            json.dumps(headers).encode(),
            json.dumps([args, {}, linked]).encode(),
            deliveries=deliveries,
        )
        return self.executor.execute(Assignment(delivery)), self.app.AsyncResult(task_id)

    def keep(self, reply: Reply, task_id: str) -> None:
        """Store the record of a reply as the worker does."""
        assert reply.place is not None
        expires_at = clock.now() + reply.place.life_s if reply.place.life_s else None
        self.results.store(
            [StoredResult(task_id, reply.state, reply.record, expires_at, key=reply.place.key)]
        )

    def stored(self, key: str) -> Any:
        return self.app.backend.client.get(key)


@pytest.fixture
def url() -> str:
    return services.redis_database()


@pytest.fixture
def hearing() -> Iterator[Callable[[Any, Callable[..., None]], None]]:
    connected: list[tuple[Any, Callable[..., None]]] = []

    def hear(signal: Any, receiver: Callable[..., None]) -> None:
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield hear
    for signal, receiver in connected:
        signal.disconnect(receiver)


CODECS: Sequence[dict[str, Any]] = [
    {},
    {"result_serializer": "pickle", "result_accept_content": ["pickle"]},
    {"result_compression": "gzip"},
    {"result_extended": True},
    {"result_backend_transport_options": {"global_keyprefix": "shop"}},
]


@pytest.mark.parametrize("conf", CODECS, ids=["plain", "pickle", "gzip", "extended", "prefix"])
@pytest.mark.parametrize(("name", "args"), [("give", (7,)), ("fail", ())])
def test_a_record_is_the_one_that_celery_would_have_written(
    url: str, conf: dict[str, Any], name: str, args: tuple[object, ...]
) -> None:
    conf = {"result_expires": 3600, **conf}
    with Stall(url, "null://", **conf) as stock, Stall(url, **conf) as stall:
        task_id = str(uuid4())
        by_celery, _ = stock.run(name, *args, task_id=task_id)
        key = stock.app.backend.get_key_for_task(task_id).decode()
        expected = stock.app.backend.decode(stock.stored(key))
        assert by_celery.place is None
        stock.app.backend.client.delete(key)

        reply, result = stall.run(name, *args, task_id=task_id)

        assert stall.stored(key) is None
        assert reply.place is not None
        assert (reply.place.key, reply.place.life_s) == (key, 3600.0)
        found = stall.app.backend.decode(reply.record)
        # Exceptions are compared by what they say.
        assert repr({**found, "date_done": 0}) == repr({**expected, "date_done": 0})
        stall.keep(reply, task_id)
        assert result.state == expected["status"]
        assert 3590 < stall.app.backend.client.ttl(key) <= 3600


def test_the_worker_s_result_wakes_a_client_that_waits(url: str) -> None:
    with Stall(url) as stall:
        task_id = str(uuid4())
        waiting = stall.app.backend.client.pubsub(ignore_subscribe_messages=True)
        waiting.subscribe(stall.app.backend.get_key_for_task(task_id))
        waiting.get_message(timeout=5)

        reply, _ = stall.run("give", 7, task_id=task_id)
        stall.keep(reply, task_id)

        said = waiting.get_message(timeout=60)
        assert json.loads(said["data"])["result"] == 7
        waiting.close()


@pytest.mark.parametrize("other", ["0", "login", "server"])
def test_a_backend_elsewhere_is_written_by_the_child(url: str, other: str) -> None:
    results = {
        "0": url.rpartition("/")[0] + "/99",
        "login": url.replace("redis://", "redis://somebody:secret@"),
        "server": "redis://127.0.0.1:1/0",
    }[other]
    with Stall(url, results) as stall:
        reply, result = stall.run("give", 7)

        assert (reply.record, reply.place) == (b"", None)
        assert result.result == 7


def test_receivers_find_the_result_before_it_is_stored(
    url: str, hearing: Callable[[Any, Callable[..., None]], None]
) -> None:
    with Stall(url) as stall:
        found: list[object] = []

        def look(sender: Any, **_: object) -> None:
            result = stall.app.AsyncResult(sender.request.id)
            found.append((result.state, result.get(timeout=60, disable_sync_subtasks=False)))
            found.append([each["result"] for _, each in stall.app.backend.get_many([result.id])])

        hearing(signals.task_success, look)
        reply, _ = stall.run("give", 7)

        assert found == [("SUCCESS", 7), [7]]
        assert reply.record


def test_a_receiver_that_forgets_the_result_leaves_none(
    url: str, hearing: Callable[[Any, Callable[..., None]], None]
) -> None:
    with Stall(url) as stall:
        hearing(signals.task_success, lambda sender, **_: stall.app.AsyncResult(sender.request.id).forget())
        reply, result = stall.run("give", 7)

        assert (reply.record, result.state) == (b"", "PENDING")


@pytest.mark.parametrize("handler", ["on_success", "after_return"])
def test_a_task_with_handlers_of_its_own_is_stored_before_they_run(url: str, handler: str) -> None:
    with Stall(url) as stall:
        seen: list[object] = []
        task = stall.app.tasks["give"]

        def look(*_: object) -> None:
            seen.append(json.loads(stall.stored(f"celery-task-meta-{task.request.id}"))["result"])

        setattr(type(task), handler, look)
        task.__trace__ = build_tracer("give", task, stall.app.loader, "w1@here", app=stall.app)
        reply, _ = stall.run("give", 7)

        assert (seen, reply.record) == ([7], b"")


def test_a_failure_with_errbacks_is_stored_before_they_are_sent(url: str) -> None:
    with Stall(url) as stall:
        reply, result = stall.run("fail", errbacks=[dict(stall.app.tasks["told"].s())])

        assert (reply.record, result.state) == (b"", "FAILURE")


def test_a_part_of_a_chord_is_stored_before_it_is_counted(url: str) -> None:
    with Stall(url) as stall:
        stall.app.backend.set_chord_size("g", 2)
        body = dict(stall.app.tasks["told"].s())
        replies = [stall.run("give", n, chord=body, group="g", group_index=n) for n in range(2)]

        assert [(reply.record, result.result) for reply, result in replies] == [(b"", 0), (b"", 1)]


def test_a_final_state_that_a_task_gives_itself_is_handed_up(url: str) -> None:
    with Stall(url) as stall:
        reply, result = stall.run("marks", "FAILURE")

        assert reply.state == "FAILURE"
        stall.keep(reply, result.id)
        assert repr(result.result) == "ValueError('by hand')"


def test_states_come_in_the_order_in_which_the_task_gave_them(url: str) -> None:
    with Stall(url) as stall:
        reply, result = stall.run("marks", "FAILURE", "PROGRESS")
        assert (reply.record, result.state) == (b"", "PROGRESS")

        reply, result = stall.run("marks", "SUCCESS", "FAILURE")
        assert (reply.record, result.state) == (b"", "SUCCESS")


def test_a_success_of_a_former_run_stays(url: str) -> None:
    with Stall(url) as stall:
        reply, result = stall.run("give", 1)
        stall.keep(reply, result.id)

        again, _ = stall.run("give", 2, task_id=result.id, deliveries=2)
        failed, _ = stall.run("fail", task_id=result.id)

        assert (again.record, failed.record) == (b"", b"")
        assert result.result == 1


def test_a_large_result_is_written_by_the_child(url: str) -> None:
    with Stall(url) as stall:
        reply, result = stall.run("give", "x" * MOST_BYTES)

        assert (reply.record, len(result.result)) == (b"", MOST_BYTES)


def test_a_process_that_is_to_end_after_a_success_does_not_undo_it(
    url: str, hearing: Callable[[Any, Callable[..., None]], None]
) -> None:
    def leave(**_: object) -> None:
        raise SystemExit(3)

    with Stall(url) as stall:
        hearing(signals.task_success, leave)
        reply, result = stall.run("give", 7)

        assert reply.record == b""
        assert result.result == 7


def test_the_results_of_other_tasks_are_stored_at_once(url: str) -> None:
    with Stall(url) as stall:
        other = str(uuid4())

        @stall.app.task(name="outer", shared=False)  # type: ignore[untyped-decorator]
        def outer() -> int:
            stall.app.backend.mark_as_done(other, "theirs")
            return 1

        task = stall.app.tasks["outer"]
        task.__trace__ = build_tracer("outer", task, stall.app.loader, "w1@here", app=stall.app)
        reply, _ = stall.run("outer")

        assert json.loads(reply.record)["result"] == 1
        assert stall.app.AsyncResult(other).result == "theirs"


def test_a_backend_is_asked_once_for_the_key_of_a_task_and_always_for_those_of_others(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Stall(url) as stall:
        backend = stall.app.backend
        asked: list[str] = []
        name = backend.get_key_for_task

        def recorded(task_id: str, key: str = "") -> object:
            asked.append(task_id)
            return name(task_id, key)

        monkeypatch.setattr(type(backend), "get_key_for_task", staticmethod(recorded))
        reply, _ = stall.run("give", 7, task_id="one")

        assert asked == ["one"]
        assert reply.place is not None
        assert reply.place.key == "celery-task-meta-one"
        assert backend.get_key_for_task("one") == b"celery-task-meta-one"
        assert backend.get_key_for_task("two", ".x") == b"celery-task-meta-two.x"
