"""Where a no-op task of a Celery app costs time in a pool's child, step by step, with its record handed up.

One process and one thread: the executor of a child, over a message as Celery's client writes it.  The best of
the rounds counts for each step, for all that disturbs makes it longer.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.app.trace import build_tracer
from kombu.serialization import prepare_accept_content

from benchmarks.harness import report
from taskd.execution.celery.records import HandedRecords
from taskd.execution.celery.request import arguments_of, request_of
from taskd.execution.celery.running import CeleryExecutor
from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import Assignment, decode_assignment, decode_reply, encode
from taskd.protocol.message import decode_headers
from tests.services import RedisServer

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "20"))
CALLS = 500
NODE = "bench@here"


def best_us(call: Callable[[], object]) -> float:
    """Return the microseconds of one call."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            call()
        found.append((time.perf_counter() - began) / CALLS)
    return min(found) * 1e6


def noop() -> None:
    """Do nothing."""


def app_over(url: str) -> Any:
    """Return a Celery app whose tasks have been traced as in a child."""
    app = Celery("bench", broker="memory://", backend=url, set_as_current=False)
    app.task(name="bench.noop", shared=False)(noop)
    app.finalize()
    for name, task in app.tasks.items():
        task.__trace__ = build_tracer(name, task, app.loader, NODE, app=app)
    return app


def message_of(app: Any, *, ignore_result: bool) -> Delivery:
    """Return a message as Celery's client writes it."""
    sent = app.amqp.as_task_v2("1", "bench.noop", (), {}, ignore_result=ignore_result)
    return Delivery(1, "celery", "1", json.dumps(sent.headers).encode(), json.dumps(sent.body).encode())


def main() -> None:
    """Print the steps and their sum."""
    server = RedisServer()
    try:
        app = app_over(server.url)
        delivery = message_of(app, ignore_result=False)
        payload = encode(Assignment(delivery))
        executor = CeleryExecutor(app, NODE, {}, None, HandedRecords(server.url))
        reply = decode_reply(executor(payload))
        assert reply.record, "the record is not handed up"
        accepted = prepare_accept_content(app.conf.accept_content)
        steps = {
            "decode the assignment": best_us(lambda: decode_assignment(payload)),
            "decode the headers": best_us(lambda: decode_headers(delivery.headers)),
            "the request's fields": best_us(lambda: request_of(delivery, "1", NODE)),
            "decode the arguments": best_us(lambda: arguments_of(delivery, None, accepted)),
            "encode the reply": best_us(lambda: encode(reply)),
        }
        whole = best_us(lambda: executor(payload))
        ignored = encode(Assignment(message_of(app, ignore_result=True)))
        without = best_us(lambda: executor(ignored))
        steps["Celery's tracer, and the request"] = without - sum(steps.values())
        steps["the record, by Celery's backend"] = whole - without
        for name, cost in steps.items():
            report(name, f"{cost:.1f} us")
        report("the whole run", f"{whole:.1f} us")
    finally:
        server.end()


if __name__ == "__main__":
    main()
