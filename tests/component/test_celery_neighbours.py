"""Mingle and Gossip with Celery's own code on the other side, over the embedded broker's kombu transport."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.worker import state as worker_state
from celery.worker.consumer.gossip import Gossip
from celery.worker.control import Panel
from kombu.asynchronous.timer import Timer
from kombu.pidbox import Mailbox

from taskd.base import clock
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.config.built_in import SQLITE
from taskd.config.kinds import BrokerCan
from taskd.config.stores import SqliteConfig
from taskd.revocations.known import By
from tests.component.cluster import Node
from tests.waiting import wait_until


class SharedSqlite(SqliteBroker):
    """The embedded broker as if several hosts could share it."""

    kind = replace(SQLITE, can=SQLITE.can | {BrokerCan.SPAN_HOSTS})

    def __init__(self, url: str) -> None:
        super().__init__(url, SqliteConfig())


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/broker.db"


@pytest.fixture
def app(url: str) -> Iterator[Any]:
    made = Celery("neighbour", broker=url)
    made.conf.broker_transport = "taskd.brokers.kombu_client.transport:SqliteTransport"
    yield made
    made.close()
    worker_state.revoked.clear()


@contextmanager
def celerys_remote_control(app: Any, hostname: str) -> Iterator[None]:
    """Answer as a Celery worker does, with its own commands, until the end of the block."""
    ready, end = threading.Event(), threading.Event()

    def serve() -> None:
        with app.connection_for_read() as connection:
            box = Mailbox("celery", type="fanout", connection=connection, accept=["json"], clock=app.clock)
            state = SimpleNamespace(app=app, hostname=hostname)
            node = box.Node(hostname, channel=connection.channel(), handlers=Panel.data, state=state)
            with node.listen():
                ready.set()
                drain(connection, end)

    yield from _in_thread(serve, ready, end)


@contextmanager
def celerys_gossip(app: Any, hostname: str) -> Iterator[Any]:
    """Run Celery's own Gossip step over a stand-in for the rest of its worker."""
    ready, end = threading.Event(), threading.Event()
    made: list[Any] = []

    def serve() -> None:
        with app.connection_for_read() as connection, app.connection_for_write() as writing:
            dispatcher = app.events.Dispatcher(writing, hostname=hostname)
            consumer = SimpleNamespace(
                app=app,
                hostname=hostname,
                pid=os.getpid(),
                timer=Timer(),
                hub=None,
                event_dispatcher=dispatcher,
            )
            gossip = Gossip(consumer, without_gossip=True)  # over this transport it would not take part
            gossip.state = app.events.State(
                on_node_join=gossip.on_node_join, on_node_leave=gossip.on_node_leave, max_tasks_in_memory=1
            )
            gossip.update_state = gossip.state.event
            gossip.dispatcher = dispatcher
            made.append(gossip)
            (listener,) = gossip.get_consumers(connection.channel())
            with listener:
                dispatcher.send("worker-online", freq=2.0)
                ready.set()
                drain(connection, end)

    for _ in _in_thread(serve, ready, end):
        yield made[0]


def _in_thread(serve: Any, ready: threading.Event, end: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert ready.wait(60)
        yield
    finally:
        end.set()
        thread.join()


def drain(connection: Any, end: threading.Event) -> None:
    while not end.is_set():
        try:
            connection.drain_events(timeout=0.05)
        except TimeoutError:
            continue


def test_a_celery_worker_and_ours_tell_each_other_what_is_revoked(app: Any, url: str) -> None:
    worker_state.revoked.add("theirs")
    app.clock.adjust(1000)
    ours = Node(url, "new@a", broker=SharedSqlite)
    ours.parts.policy.revoked.known[By.ID].add(["ours"], clock.monotonic())

    with celerys_remote_control(app, "celery@b"), ours:
        wait_until(lambda: "theirs" in ours.parts.policy.revoked.known[By.ID], 10)
        wait_until(lambda: "ours" in worker_state.revoked, 10)

        assert ours.parts.voice.logical.value > 1000


def test_a_celery_worker_that_starts_is_answered(app: Any, url: str) -> None:
    with Node(url, "old@a", broker=SharedSqlite) as ours:
        wait_until(lambda: ours.gossip is not None, 10)
        ours.do(lambda: ours.parts.policy.revoked.known[By.ID].add(["ours"], clock.monotonic()))

        # What celery.worker.consumer.mingle does at the start of a Celery worker.
        replies = app.control.inspect(timeout=60, limit=1).hello("celery@b", ["theirs"])

        assert replies["old@a"]["revoked"] == ["ours", "theirs"]
        assert "theirs" in ours.parts.policy.revoked.known[By.ID]


def test_celerys_gossip_and_ours_see_each_other(app: Any, url: str) -> None:
    with celerys_gossip(app, "celery@b") as gossip, Node(url, "ours@a", broker=SharedSqlite) as ours:
        wait_until(lambda: "ours@a" in {worker.hostname for worker in list(gossip.state.alive_workers())}, 10)
        wait_until(lambda: ours.gossip is not None, 10)  # it listens now
        gossip.dispatcher.send("worker-heartbeat", freq=2.0)
        wait_until(lambda: list(ours.neighbours()) == ["celery@b"], 10)

        gossip.dispatcher.send("worker-offline", freq=2.0)
        wait_until(lambda: list(ours.neighbours()) == [], 10)
