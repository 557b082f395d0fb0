"""Celery's and Huey's side of the Redis benchmark; BENCH_REDIS names the database."""

from __future__ import annotations

import os

from celery import Celery
from huey import RedisHuey

_URL = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:1/0")

app = Celery("bench", broker=_URL)
app.conf.task_ignore_result = True
app.conf.task_acks_late = True
huey = RedisHuey("bench", url=_URL, results=False)


@app.task(name="bench.celery_noop")  # type: ignore[untyped-decorator]
def celery_noop() -> None:
    """Do nothing."""


@huey.task()
def huey_noop() -> None:
    """Do nothing."""
