"""Whoever waits for a revoked task that nobody has begun is answered at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from taskd.consumer.commands.revoking import Revoking
from taskd.consumer.commands.task_queries import TaskQueries
from taskd.consumer.tasks import TasksGiven
from taskd.protocol.results import TaskState, decode_record, revoked_record
from taskd.results.base import StoredResult
from tests.component import barrier_app
from tests.component.small_worker import SmallWorker, message
from tests.waiting import wait_until


@pytest.fixture
def worker() -> Iterator[SmallWorker]:
    barrier_app.begun.clear()
    barrier_app.gate.clear()
    with SmallWorker() as made:
        yield made
        barrier_app.gate.set()


def revoking(worker: SmallWorker) -> Revoking:
    """Return the commands that revoke, bound to a worker."""
    parts = worker.parts
    return Revoking(parts.loop, parts.live, parts.work, parts.policy.revoked, parts.backends.results)


def state(worker: SmallWorker, task_id: str) -> str:
    record = worker.results.get([task_id]).get(task_id)
    return decode_record(record).status if record else "PENDING"


def test_what_nobody_has_begun_is_revoked_at_once_and_nothing_else(worker: SmallWorker) -> None:
    for name in ("STARTED", "SUCCESS", "RETRY", "PROGRESS"):
        record = revoked_record(name, "x", done_at=0.0).replace(b'"REVOKED"', f'"{name}"'.encode())
        worker.results.store([StoredResult(name, name, record, None)])
    worker.send(message("gated", "runs", "a"))
    wait_until(lambda: barrier_app.begun["a"])

    worker.do(
        lambda: revoking(worker).revoke(["waits", "runs", "STARTED", "SUCCESS", "RETRY", "PROGRESS"]),
    )

    assert {name: state(worker, name) for name in ("waits", "RETRY")} == {
        "waits": TaskState.REVOKED,
        "RETRY": TaskState.REVOKED,
    }
    for name in ("STARTED", "SUCCESS", "PROGRESS"):
        assert state(worker, name) == name
    assert state(worker, "runs") == "PENDING"
    worker.send(message("note", "waits", "a"))
    wait_until(lambda: not any(queue.ready + queue.claimed > 1 for queue in worker.broker.desk().queues()))
    assert state(worker, "waits") == TaskState.REVOKED


def test_an_answer_is_taken_back_with_the_revocation_unless_the_task_was_dropped(worker: SmallWorker) -> None:
    worker.do(lambda: revoking(worker).revoke(["waits", "dropped"]))
    worker.send(message("note", "dropped", "a"))
    wait_until(lambda: not any(queue.ready + queue.claimed for queue in worker.broker.desk().queues()))
    assert state(worker, "waits") == TaskState.REVOKED

    worker.do(lambda: revoking(worker).unrevoke(["waits", "dropped"]))

    assert state(worker, "waits") == "PENDING"
    assert state(worker, "dropped") == TaskState.REVOKED
    worker.send(message("note", "waits", "a"))
    wait_until(lambda: state(worker, "waits") == TaskState.SUCCESS)


def test_what_waits_for_its_time_is_not_acknowledged_whatever_its_task_says(worker: SmallWorker) -> None:
    later = message("gated_early", "later", "a")
    worker.send(
        type(later)(**{name: getattr(later, name) for name in later.__struct_fields__} | {"due_at": 4e9})
    )
    wait_until(lambda: worker.consumer._connection.intake is not None)
    intake = worker.consumer._connection.intake
    assert intake is not None
    queries = TaskQueries(
        "main-1@here",
        worker.parts.work,
        worker.parts.policy,
        TasksGiven(None, intake),  # type: ignore[arg-type]
        worker.consumer._app_ends,
    )

    answer: Any = worker.do(queries.scheduled)
    (entry,) = answer

    assert entry["request"]["acknowledged"] is False
