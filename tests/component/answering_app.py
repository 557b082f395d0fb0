"""A target that answers for its tasks by itself, as a Celery app does: ends are handed to it.

The id of a task says what it does with its end, so that a child of prefork knows it, too.  The file ``TOLD``
has a line for each that it takes.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from taskd.base.errors import SoftTimeLimitExceeded
from taskd.pools.prefork.template import inherited_control, serve
from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import DecidedEnd, End, Reply, decode_assignment, encode
from taskd.protocol.message import decode_headers
from taskd.sending.app_table import AppTable
from taskd.sending.forms import Acks
from taskd.sending.options import TaskOptions

#: The file for what is taken, and one that stands while the app's backend is away.
TOLD = "TASKD_TEST_TOLD"
AWAY = "TASKD_TEST_AWAY"
#: The file that lets gated tasks go on.
GATE = "TASKD_TEST_GATE"

TABLE = AppTable(
    [
        TaskOptions(name="note"),
        TaskOptions(name="gated"),
        TaskOptions(name="gated_early", acks=Acks.EARLY),
        TaskOptions(name="late", time_limit=0.2),
        TaskOptions(name="late_early", time_limit=0.2, acks=Acks.EARLY),
        TaskOptions(name="die"),
        TaskOptions(name="die_early", acks=Acks.EARLY),
        TaskOptions(name="break"),
        TaskOptions(name="unstored_early", acks=Acks.EARLY),
    ],
    answers=True,
)

_attempts: Counter[str] = Counter()


def target(payload: bytes) -> bytes:
    """Run a task, or take an end."""
    assignment = decode_assignment(payload)
    if assignment.ended is not None:
        return encode(_take(assignment.ended))
    return encode(_run(assignment.delivery))


def _run(delivery: Delivery) -> Reply:
    name = decode_headers(delivery.headers).task
    _note(f"runs {delivery.task_id}")
    match name.partition("_")[0]:
        case "late":
            _until(lambda: False)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "gated":
            _until(Path(os.environ[GATE]).exists)
        case "break":
            raise IndexError("a defect of the executor")
        case "unstored":
            return Reply(End.UNSTORED, text="the backend is away")
    return Reply(End.SUCCEEDED, "SUCCESS")


def _take(end: DecidedEnd) -> Reply:
    _attempts[end.task_id] += 1
    _note(f"tries {end.task_id}")
    match end.task_id.partition("-")[0]:
        case "kills":
            os.kill(os.getpid(), signal.SIGKILL)
        case "breaks":
            raise IndexError("a defect of the executor")
        case "claimed":
            return Reply(End.REQUEUED, text="its chord waits")
        case "refused":
            return Reply(End.FAILED, text="DataError: the record is too large")
        case "never":
            return Reply(End.REJECTED, text="TypeError: nonsense")
        case "hangs":
            try:
                _until(lambda: False)
            except SoftTimeLimitExceeded as error:
                return Reply(End.FAILED, text=str(error))
        case "waits":
            _until(Path(os.environ[GATE]).exists)
    if os.path.exists(os.environ[AWAY]):
        return Reply(End.FAILED, text="ConnectionError: the backend is away")
    _note(f"takes {end.task_id} {end.state} {end.cause.name}")
    return Reply(End.IGNORED)


def _until(enough: object) -> None:
    assert callable(enough)
    until = time.monotonic() + 60.0
    # Not as the condition of the loop: Python 3.13 lets an exception that comes there past the handlers.
    while True:
        if enough() or time.monotonic() > until:
            return
        time.sleep(0.005)


def _note(line: str) -> None:
    with open(os.environ[TOLD], "a", encoding="utf-8") as file:
        file.write(f"{line} {os.getpid()}\n")


def told(path: Path) -> Sequence[str]:
    """Return what was noted, without the processes."""
    return [line.rpartition(" ")[0] for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    serve(inherited_control(), lambda: (target, msgspec.json.encode(TABLE)))
