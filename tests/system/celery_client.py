"""The real Celery as a client of a daemon: over the broker that the daemon uses."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery
from kombu import pools

from tests.system.daemon import Daemon
from tests.waiting import wait_until

#: Celery's result backends use what redis-py calls deprecated, and leave connections open.
CELERYS_WARNINGS = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::celery.exceptions.CPendingDeprecationWarning"),
]


@contextmanager
def client_over(broker: str, results: str | None = None) -> Iterator[Any]:
    """Give a Celery app without tasks of its own, closed at the end of the block."""
    client = Celery("client", broker=broker, backend=results)
    yield client
    close_celery(client)


def celery_app(daemon: Daemon) -> Any:
    """Return a Celery app that talks to the daemon's broker."""
    from taskd.config.load import load

    url = load(str(daemon.file)).broker
    app = Celery("client", broker=url)
    if url.startswith("sqlite:"):
        app.conf.broker_transport = "taskd.brokers.kombu_client.transport:SqliteTransport"
    return app


def close_celery(app: Any) -> None:
    """Close a Celery app with the connections that its own ``close`` leaves to the garbage collector."""
    backend = app.backend
    if hasattr(backend, "result_consumer"):
        backend.result_consumer.stop()
    if hasattr(backend, "client"):
        backend.client.close()
        backend.client.connection_pool.disconnect()
    app.close()
    pools.reset()
    gc.collect()  # what Celery forgets to close is to be heard of in this test, not in a later one


class Listener:
    """What Celery's own receiver has heard."""

    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []

    def of(self, task_id: str) -> list[str]:
        """Return the types of the events of one task, as they came."""
        return [event["type"] for event in list(self.events) if event.get("uuid") == task_id]

    def wait(self, kind: str, timeout_s: float = 10.0, **fields: object) -> Mapping[str, Any]:
        """Return the first event of a type with these fields."""

        def found() -> Mapping[str, Any] | None:
            return next(
                (
                    event
                    for event in list(self.events)
                    if event["type"] == kind and all(event[name] == value for name, value in fields.items())
                ),
                None,
            )

        wait_until(lambda: found() is not None, timeout_s, f"{kind} {fields}; heard: {self.events}")
        event = found()
        assert event is not None
        return event


@contextmanager
def listening(daemon: Daemon, *, state: Any = None) -> Iterator[Listener]:
    """Listen with Celery's own event receiver, in a thread, until the end of the block."""
    app = celery_app(daemon)
    heard = Listener()
    end, ready = threading.Event(), threading.Event()

    def take(event: Mapping[str, Any]) -> None:
        heard.events.append(event)
        if state is not None:
            state.event(dict(event))

    def run() -> None:
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": take})
            with receiver.consumer_context(wakeup=True) as (own, _, _):
                ready.set()
                while not end.is_set():
                    try:
                        own.drain_events(timeout=0.05)
                    except TimeoutError:
                        continue

    thread = threading.Thread(target=run, name="listener")
    thread.start()
    try:
        assert ready.wait(60)
        yield heard
    finally:
        end.set()
        thread.join()
        app.close()
