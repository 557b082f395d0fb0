"""A Celery application whose tasks are acknowledged late and may run again at any time."""

from __future__ import annotations

import os
import time

from celery import Celery

from tests.system import notes

app = Celery("stormy", broker=os.environ["TEST_BROKER"], backend=os.environ["TEST_RESULTS"])
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True)


@app.task(name="stormy.note")  # type: ignore[untyped-decorator]
def note(number: int) -> int:
    """Write the number down."""
    time.sleep(0.005)
    notes.note(str(number))
    return number


@app.task(name="stormy.same")  # type: ignore[untyped-decorator]
def same(number: int) -> int:
    """Return the number."""
    return number


@app.task(name="stormy.total")  # type: ignore[untyped-decorator]
def total(numbers: list[int]) -> int:
    """Return the sum."""
    return sum(numbers)
