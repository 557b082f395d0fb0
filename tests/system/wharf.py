"""A Celery application whose tasks do not end by themselves, and that notes what it hears of it."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from celery import Celery, Task, signals

from tests.system.notes import note

app = Celery("wharf", broker=os.environ["TEST_BROKER"], backend=os.environ["TEST_BACKEND"])
app.conf.worker_prefetch_multiplier = 1
app.conf.database_create_tables_at_setup = True


@signals.task_failure.connect  # type: ignore[untyped-decorator]
def failed(task_id: str, exception: Exception, sender: Any, einfo: Any, **_: object) -> None:
    note(f"task_failure {task_id} {type(exception).__name__} {sender.request.id == task_id}")


@signals.task_revoked.connect  # type: ignore[untyped-decorator]
def revoked(request: Any, terminated: bool, signum: int | None, expired: bool, **_: object) -> None:
    note(f"task_revoked {request.id} {terminated} {signum} {expired} {request.args}")


@signals.task_unknown.connect  # type: ignore[untyped-decorator]
def unknown(name: str, id: str, message: Any, **_: object) -> None:  # noqa: A002 - as Celery calls it
    note(f"task_unknown {id} {name} {message.payload[0]}")


@signals.task_rejected.connect  # type: ignore[untyped-decorator]
def refused(message: Any, exc: Exception, **_: object) -> None:
    note(f"task_rejected {message.headers['id']} {type(exc).__name__}")


class Watched(Task):  # type: ignore[misc]
    """Hears of failures by the handler of a base class."""

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(f"on_failure {task_id} {type(exc).__name__}")


@app.task(acks_late=True)  # type: ignore[untyped-decorator]
def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.task  # type: ignore[untyped-decorator]
def dies_early() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.task  # type: ignore[untyped-decorator]
def sinks(ship: str) -> None:
    raise ValueError(ship)


@app.task(keep_failures=False)  # type: ignore[untyped-decorator]
def sinks_in_secret() -> None:
    raise ValueError("nobody saw it")


@app.task(base=Watched, time_limit=1, acks_late=True)  # type: ignore[untyped-decorator]
def overdue() -> None:
    time.sleep(60)


@app.task(bind=True)  # type: ignore[untyped-decorator]
def gated(self: Any, path: str) -> str:
    note(f"began {self.request.id}")
    until = time.monotonic() + 60
    while not os.path.exists(path) and time.monotonic() < until:
        time.sleep(0.01)
    return path


@app.task  # type: ignore[untyped-decorator]
def one() -> int:
    return 1


@app.task  # type: ignore[untyped-decorator]
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task  # type: ignore[untyped-decorator]
def told(request: Any, error: Exception, traceback: object) -> None:
    note(f"errback {request.id} {type(error).__name__}")


@app.task  # type: ignore[untyped-decorator]
def told_by_id(task_id: str) -> None:
    note(f"errback {task_id}")
