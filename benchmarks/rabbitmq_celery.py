"""The no-op task of the RabbitMQ benchmark for Celery's worker."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("bench", broker=os.environ.get("BENCH_RABBITMQ", ""))
app.conf.task_ignore_result = True
app.conf.task_acks_late = True


def noop() -> None:
    """Do nothing."""


_task = app.task(noop, name="bench.noop")


def fill(count: int) -> None:
    """Send tasks."""
    for _ in range(count):
        _task.delay()
