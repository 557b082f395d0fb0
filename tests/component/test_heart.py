"""Heart: what a worker says of itself, and when."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.consumer import heart
from taskd.consumer.connection import Connection
from taskd.consumer.neighbours.announcing import Announcer, Events
from taskd.consumer.running.app_ends import AppEnds
from taskd.consumer.running.statistics import RunTimes, Tally
from taskd.protocol.status import Heartbeat, StatusLine
from tests.component.cluster import HoldingPool
from tests.component.worker_parts import worker_parts
from tests.component.worker_thread import SharedBroker


def test_a_lease_of_a_day_is_renewed_more_often_for_the_upkeep_that_goes_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, broker = Loop(), SharedBroker(f"memory://{uuid4()}")
    parts, tally = worker_parts(loop, HoldingPool(), broker, report=lambda _line: None), Tally()
    announcer = Announcer(parts.voice.dispatcher, parts.work.pool, tally)
    renewed: list[bool] = []
    intake = SimpleNamespace(lease_s=86_400.0, renew=lambda: renewed.append(True), depth=lambda: 0)
    given: Any = {Connection: SimpleNamespace(intake=intake), Events: None}
    monkeypatch.setattr(heart, "LONGEST_RENEWAL_S", 0.01)
    step = heart.Heart(
        *(loop, parts.orders, parts.work, tally, RunTimes()),
        app_ends=AppEnds(loop, parts.work, parts.orders),
        voice=parts.voice,
        announcer=announcer,
    )

    step.start(given)
    while not renewed:
        loop.run_once()

    step.stop(Deadline.after(0.0))
    broker.close()
    loop.close()


def test_it_beats_at_once_after_each_start_also_on_a_machine_that_was_just_booted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[StatusLine] = []
    loop, broker = Loop(), SharedBroker(f"memory://{uuid4()}")
    parts, tally = worker_parts(loop, HoldingPool(), broker, report=said.append), Tally()
    announcer = Announcer(parts.voice.dispatcher, parts.work.pool, tally)
    given: Any = {Connection: SimpleNamespace(intake=broker.intake("main-1@here", ["default"])), Events: None}
    monkeypatch.setattr(heart, "clock", SimpleNamespace(monotonic=lambda: 3.0))
    step = heart.Heart(
        *(loop, parts.orders, parts.work, tally, RunTimes()),
        app_ends=AppEnds(loop, parts.work, parts.orders),
        voice=parts.voice,
        announcer=announcer,
    )

    for _ in range(2):  # a second time as after the loss of the broker
        step.start(given)
        step.stop(Deadline.after(0.0))

    assert [type(line) for line in said] == [Heartbeat, Heartbeat]
    broker.close()
    loop.close()
