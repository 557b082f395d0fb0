"""Tasks that show what arrives: for tests with Celery on the other side of the wire."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path

from taskd import App, BoundTask
from taskd.sending.request import Request

app = App()

#: Attributes of Celery's ``task.request`` that a task may ask for.
ASKED = (
    "id", "task", "args", "kwargs", "root_id", "parent_id", "group", "group_index", "retries", "eta",
    "expires", "timelimit", "time_limit", "soft_time_limit", "shadow", "origin", "ignore_result", "headers",
    "argsrepr", "kwargsrepr", "stamped_headers", "stamps", "replaced_task_nesting", "reply_to",
    "correlation_id", "delivery_info", "hostname", "callbacks", "errbacks", "chain", "chord", "is_eager",
    "called_directly", "children", "properties",
)  # fmt: skip


@app.task(name="wired.add")
def add(*numbers: int) -> int:
    return sum(numbers)


@app.task(name="both.add")
def both(*numbers: int) -> str:
    """Say who ran it: a Celery worker has a task of the same name."""
    return f"taskd {sum(numbers)}"


@app.task(name="both.mark")
def mark(number: int, path: str) -> None:
    """Note who ran which number, a moment after it began."""
    time.sleep(0.02)
    with open(path, "a") as lines:
        lines.write(f"taskd {number}\n")


@app.task(name="both.shape")
def shape(tag: int, *args: object) -> list[object]:
    """Return what it was called with."""
    return [tag, *args]


@app.task(name="both.bad")
def bad(*_args: object) -> None:
    raise LookupError("bad")


@app.task(name="both.called")
def called(_first: object, *, tag: int, path: str) -> None:
    """Note that it was called, as a callback or errback."""
    with open(path, "a") as lines:
        lines.write(f"{tag}\n")


@app.task(name="wired.quiet", send_events=False)
def quiet(*numbers: int) -> int:
    return sum(numbers)


@app.task(name="wired.echo")
def echo(*args: object, **kwargs: object) -> list[object]:
    return [list(args), kwargs]


@app.task(name="wired.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="wired.replace", bind=True)
def replace(self: BoundTask, _first: object, signature: dict[str, object]) -> None:
    self.replace(signature)


@app.task(name="wired.add_part", bind=True)
def add_part(self: BoundTask, signature: dict[str, object]) -> str:
    self.add_to_chord(signature)
    return "added"


@app.task(name="wired.request", bind=True)
def request(self: BoundTask, /, *_args: object, **_kwargs: object) -> dict[str, object]:
    """Return the whole request."""
    found = {name: getattr(self.request, name) for name in ASKED}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in found.items()
    }


@app.task(name="wired.note")
def note(path: str, *words: object) -> None:
    with open(path, "a") as lines:
        lines.write(" ".join(map(str, words)) + "\n")


@app.task(name="wired.note_last")
def note_last(first: object, path: str) -> object:
    """Note what came first, as a callback does."""
    with open(path, "a") as lines:
        lines.write(f"{first}\n")
    return first


@app.task(name="wired.note_error")
def note_error(request: Request, exc: BaseException, _traceback: str | None, *, path: str) -> None:
    """Note what failed and how, as Celery's errbacks are told."""
    with open(f"{path}.new", "w") as lines:
        lines.write(f"{request.id} {type(exc).__name__}")
    os.rename(f"{path}.new", path)


@app.task(name="wired.fail", max_retries=0)
def fail(*_args: object) -> None:
    raise LookupError("no such", 7)


@app.task(name="wired.again", bind=True, max_retries=5)
def again(self: BoundTask, gate: str) -> int:
    """Ask for a retry until the gate exists."""
    if not os.path.exists(gate):
        self.retry(exc=LookupError("not yet"), countdown=0.2)
    return self.request.retries


@app.task(name="wired.progress", bind=True, track_started=True)
def progress(self: BoundTask, gates: str) -> str:
    """Pass through STARTED and a state of its own, a gate behind each."""
    for name in ("first", "second"):
        while not Path(gates, name).exists():
            time.sleep(0.01)
        self.update_state(state="COUNTING", meta={"at": name})
    while not Path(gates, "third").exists():
        time.sleep(0.01)
    return "counted"


@app.task(name="wired.parent")
def parent(name: str) -> str:
    """Send a task, and name it."""
    return app.send_task(name, (1, 1)).id


@app.task(name="wired.waits_for")
def waits_for(name: str, *args: object) -> object:
    """Send a task, and return its result."""
    return app.send_task(name, args).get(timeout=60)


@app.task(name="wired.hold")
def hold(path: str, gate: str) -> str:
    with open(path, "a") as runs:
        runs.write(f"{os.getpid()}\n")
    while not os.path.exists(gate):
        time.sleep(0.01)
    return "held"
