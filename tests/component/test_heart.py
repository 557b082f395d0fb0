"""Heart: what a worker says of itself, and when."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.config.programs import WorkerConfig
from taskd.config.schema import Config
from taskd.consumer import heart
from taskd.consumer.connection import Connection
from taskd.consumer.context import Context
from taskd.consumer.neighbours.announcing import Events
from taskd.protocol.status import Heartbeat, StatusLine
from taskd.results.null import NullResults
from tests.component.cluster import HoldingPool
from tests.component.worker_thread import SharedBroker


def test_it_beats_at_once_after_each_start_also_on_a_machine_that_was_just_booted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[StatusLine] = []
    loop, broker = Loop(), SharedBroker(f"memory://{uuid4()}")
    context = Context(
        "main-1@here", Config(), WorkerConfig(name="main"), loop, HoldingPool(), broker, broker.publisher(),
        NullResults(), said.append, 0.0, queues=("default",),
    )  # fmt: skip
    given: Any = {Connection: SimpleNamespace(intake=broker.intake("main-1@here", ["default"])), Events: None}
    monkeypatch.setattr(heart, "clock", SimpleNamespace(monotonic=lambda: 3.0))
    step = heart.Heart(context)

    for _ in range(2):  # a second time as after the loss of the broker
        step.start(given)
        step.stop(Deadline.after(0.0))

    assert [type(line) for line in said] == [Heartbeat, Heartbeat]
    broker.close()
    loop.close()
