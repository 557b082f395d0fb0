"""A template program whose task code brings a library that starts threads, patches, or replaces the loop.

Run as ``python -m tests.component.library_template LIBRARY``; each job uses the library and returns what
came of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from taskd.pools.prefork.template import inherited_control, serve

Use = Callable[[], object]


def load_numpy() -> Use:
    import numpy as np

    # Large enough for OpenBLAS to divide it among its threads.
    return lambda: round(float((np.ones((400, 400)) @ np.ones((400, 400))).mean()))


def load_pandas() -> Use:
    import pandas as pd

    return lambda: int(pd.DataFrame({"k": [1, 1, 2], "v": [1, 2, 3]}).groupby("k").v.sum().loc[1])


def load_grpc() -> Use:
    import grpc

    channel = grpc.insecure_channel(f"unix:{os.environ['GRPC_SERVER']}")
    return lambda: channel.unary_unary("/test/Echo")(b"heard", timeout=60.0).decode()


def load_sentry() -> Use:
    import sentry_sdk

    seen: list[object] = []
    sentry_sdk.init("http://key@127.0.0.1:9/1", before_send=lambda event, _hint: seen.append(event))

    def use() -> object:
        sentry_sdk.capture_message("the job says so")
        sentry_sdk.flush(2.0)
        return len(seen) > 0

    return use


def load_otel() -> Use:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))

    def use() -> object:
        with provider.get_tracer("test").start_as_current_span("job"):
            pass
        provider.force_flush()
        return len(exporter.get_finished_spans()) > 0

    return use


def load_queue_listener() -> Use:
    import logging
    import logging.handlers
    import queue
    import threading

    heard = threading.Event()

    class Hearing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.set()

    records: queue.Queue[object] = queue.Queue()
    logging.getLogger("shop").addHandler(logging.handlers.QueueHandler(records))
    logging.handlers.QueueListener(records, Hearing()).start()

    def use() -> object:
        logging.getLogger("shop").warning("the job says so")
        return heard.wait(60.0)

    return use


def load_gevent() -> Use:
    from gevent import monkey

    monkey.patch_all()
    import time

    import gevent

    def use() -> object:
        both = [gevent.spawn(time.sleep, 0.01) for _ in range(2)]
        return len(gevent.joinall(both))

    return use


def load_uvloop_loop() -> Use:
    import asyncio

    import uvloop

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    return lambda: loop.run_until_complete(asyncio.sleep(0.01, "slept"))


def load_uvloop_in_tasks() -> Use:
    import asyncio

    import uvloop

    async def sleep() -> str:
        await asyncio.sleep(0.01)
        return type(asyncio.get_running_loop()).__module__

    def use() -> str:
        loop = uvloop.new_event_loop()
        try:
            return str(loop.run_until_complete(sleep()))
        finally:
            loop.close()

    return use


def load_asyncio_loop() -> Use:
    import asyncio

    loop = asyncio.new_event_loop()
    return lambda: loop.run_until_complete(asyncio.sleep(0.01, "slept"))


def _target(use: Use) -> Callable[[bytes], bytes]:
    return lambda _payload: str(use()).encode()


LOADS = {
    "numpy": load_numpy,
    "pandas": load_pandas,
    "grpc": load_grpc,
    "sentry": load_sentry,
    "otel": load_otel,
    "queue-listener": load_queue_listener,
    "gevent": load_gevent,
    "uvloop": load_uvloop_in_tasks,
    "uvloop-loop": load_uvloop_loop,
    "asyncio-loop": load_asyncio_loop,
}

if __name__ == "__main__":
    serve(inherited_control(), lambda: (_target(LOADS[sys.argv[1]]()), b"hello"))
