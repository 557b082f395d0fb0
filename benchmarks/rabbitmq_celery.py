"""The no-op task of the RabbitMQ benchmark for Celery's worker."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("bench", broker=os.environ.get("BENCH_RABBITMQ", ""))
app.conf.task_ignore_result = True
app.conf.task_acks_late = True


@app.task(name="bench.noop")
def noop() -> None:
    """Do nothing."""


def fill(count: int) -> None:
    """Send tasks."""
    for _ in range(count):
        noop.delay()
