"""Celery's and Huey's side of the Redis benchmark; BENCH_REDIS names the database."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping

from celery import Celery
from huey import RedisHuey
from redis import Redis

_URL = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:1/0")

_STARTED = "bench-started"

app = Celery("bench", broker=_URL)
app.conf.task_ignore_result = True
app.conf.task_acks_late = True
huey = RedisHuey("bench", url=_URL, results=False)


@app.task(name="bench.celery_noop")  # type: ignore[untyped-decorator]
def celery_noop() -> None:
    """Do nothing."""


@huey.task()  # type: ignore[untyped-decorator]
def huey_noop() -> None:
    """Do nothing."""


def _tell_start() -> None:
    """Tell whoever waits when this began, by the machine's monotonic clock."""
    now = time.monotonic()
    with Redis.from_url(_URL) as client:
        client.rpush(_STARTED, now)


@app.task(name="bench.celery_start")  # type: ignore[untyped-decorator]
def celery_start() -> None:
    """Tell when it began."""
    _tell_start()


@huey.task()  # type: ignore[untyped-decorator]
def huey_start() -> None:
    """Tell when it began."""
    _tell_start()


def print_delays(name: str, samples: int, rest_s: float) -> None:
    """Print the seconds from send to start as JSON, one message after the other with a rest after each."""
    sends: Mapping[str, Callable[[], object]] = {"celery": celery_start.delay, "huey": huey_start}
    delays = []
    with Redis.from_url(_URL) as client:
        for number in range(samples + 10):
            sent = time.monotonic()
            sends[name]()
            answer = client.blpop([_STARTED], timeout=30)
            assert isinstance(answer, tuple)
            if number >= 10:  # the first ones warm up both ends
                delays.append(float(answer[1]) - sent)
            time.sleep(rest_s)
    print(json.dumps(delays))
