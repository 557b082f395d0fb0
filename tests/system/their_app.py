"""The application of a real Celery worker beside ours; TEST_BROKER names broker and result backend."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import Celery

URL = os.environ["TEST_BROKER"]
app = Celery("theirs", broker=URL, backend=os.environ.get("TEST_RESULTS", URL))
app.conf.update(task_default_queue="theirs", task_track_started=True, worker_send_task_events=True)


@app.task(name="theirs.add")  # type: ignore[untyped-decorator]
def add(*numbers: int) -> int:
    return sum(numbers)


@app.task(name="theirs.echo")  # type: ignore[untyped-decorator]
def echo(*args: object, **kwargs: object) -> list[object]:
    return [list(args), kwargs]


@app.task(name="both.add")  # type: ignore[untyped-decorator]
def both(*numbers: int) -> str:
    return f"celery {sum(numbers)}"


@app.task(name="both.mark", acks_late=True, reject_on_worker_lost=True)  # type: ignore[untyped-decorator]
def mark(number: int, path: str) -> None:
    time.sleep(0.02)
    with open(path, "a") as lines:
        lines.write(f"celery {number}\n")


@app.task(name="both.shape")  # type: ignore[untyped-decorator]
def shape(tag: int, *args: object) -> list[object]:
    return [tag, *args]


@app.task(name="both.bad")  # type: ignore[untyped-decorator]
def bad(*_args: object) -> None:
    raise LookupError("bad")


@app.task(name="both.called")  # type: ignore[untyped-decorator]
def called(_first: object, *, tag: int, path: str) -> None:
    with open(path, "a") as lines:
        lines.write(f"{tag}\n")


@app.task(name="theirs.request", bind=True)  # type: ignore[untyped-decorator]
def request(self: Any, *_args: object, **_kwargs: object) -> dict[str, object]:
    names = (
        "id", "args", "kwargs", "root_id", "parent_id", "retries", "eta", "expires", "timelimit", "headers",
        "delivery_info", "origin", "ignore_result", "argsrepr",
    )  # fmt: skip
    return {name: getattr(self.request, name) for name in names}


@app.task(name="theirs.note")  # type: ignore[untyped-decorator]
def note(first: object, *, path: str) -> None:
    """Note what came first.  An errback of more positional parameters Celery would call with others."""
    with open(path, "a") as lines:
        lines.write(f"{first}\n")


@app.task(name="theirs.fail")  # type: ignore[untyped-decorator]
def fail() -> None:
    raise LookupError("no such", 7)


@app.task(name="theirs.again", bind=True, max_retries=50)  # type: ignore[untyped-decorator]
def again(self: Any, gate: str) -> int:
    if not Path(gate).exists():
        raise self.retry(exc=LookupError("not yet"), countdown=0.2)
    return int(self.request.retries)


@app.task(name="theirs.progress", bind=True)  # type: ignore[untyped-decorator]
def progress(self: Any, gate: str) -> str:
    self.update_state(state="COUNTING", meta={"at": 1})
    while not Path(gate).exists():
        time.sleep(0.01)
    return "counted"


@app.task(name="theirs.parent")  # type: ignore[untyped-decorator]
def parent() -> str:
    return str(add.delay(1, 1).id)
