"""A chord on Redis ends also when the process that had claimed its body was killed before it sent it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from celery import Celery
from kombu import pools

from taskd.execution.celery.chord_claims import WAITING
from taskd.execution.celery.ends import take_end
from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import Cause, DecidedEnd, End
from taskd.protocol.results import revoked_record
from tests import services
from tests.component.celery_messages import NODE, delivery_of, run
from tests.system.celery_client import CELERYS_WARNINGS

pytestmark = [
    *CELERYS_WARNINGS,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Choir:
    """An app with one chord of one part, whose body another process may have claimed."""

    def __init__(self, *, acks_late: bool = True) -> None:
        self.app = app = Celery(
            "choir", broker="memory://", backend=services.redis_database(), set_as_current=False
        )

        @app.task(name="sing", shared=False, acks_late=acks_late)  # type: ignore[untyped-decorator]
        def sing() -> str:
            return "la"

        @app.task(name="applaud", shared=False)  # type: ignore[untyped-decorator]
        def applaud(songs: list[str]) -> int:
            return len(songs)

        app.finalize()
        if not hasattr(app.backend, "_chord_part_return_script"):
            pytest.skip("this release of Celery claims no body")
        self._claim = app.backend.get_key_for_group("group-1", ".c")
        app.backend.set_chord_size("group-1", 1)
        app.backend.client.set(self._claim, "of a process that was killed", ex=600)

    def part(self, deliveries: int = 2) -> Delivery:
        """Return the message of the part, which came again."""
        body = self.app.signature("applaud", queue="bodies")
        delivery = delivery_of(self.app, "sing", group_id="group-1", group_index=0, chord=body)
        return msgspec.structs.replace(delivery, deliveries=deliveries)

    def end_claim(self) -> None:
        self.app.backend.client.delete(self._claim)

    def bodies(self) -> int:
        """Return how many bodies were sent."""
        with self.app.connection() as connection:
            return int(connection.SimpleQueue("bodies").qsize())

    def close(self) -> None:
        with self.app.connection() as connection:
            connection.SimpleQueue("bodies").clear()
        self.app.backend.client.connection_pool.disconnect()
        self.app.close()
        pools.reset()


@pytest.fixture
def choir() -> Iterator[Choir]:
    made = Choir()
    yield made
    made.close()


def test_the_last_part_comes_once_more_while_the_claim_of_a_dead_process_stands(choir: Choir) -> None:
    waiting = run(choir.app, choir.part())
    assert (waiting.end, waiting.text) == (End.UNSTORED, WAITING)
    assert choir.bodies() == 0

    choir.end_claim()

    assert run(choir.app, choir.part(deliveries=3)).end is End.SUCCEEDED
    assert choir.bodies() == 1


def test_a_part_of_a_chord_that_was_sent_comes_no_more(choir: Choir) -> None:
    choir.end_claim()

    assert run(choir.app, choir.part()).end is End.SUCCEEDED
    assert run(choir.app, choir.part(deliveries=3)).end is End.SUCCEEDED
    assert choir.bodies() == 1


def test_an_end_that_the_worker_decided_waits_for_the_claim_too(choir: Choir) -> None:
    record = revoked_record("id-1", "revoked", done_at=1.0)
    end = DecidedEnd("id-1", "REVOKED", record, Cause.REVOKED)

    first = take_end(choir.app, choir.part(), end, NODE)
    choir.end_claim()
    second = take_end(choir.app, choir.part(), end, NODE)

    assert (first.end, first.text) == (End.REQUEUED, WAITING)
    assert second.end is End.IGNORED


def test_a_message_that_was_acknowledged_early_is_left_alone() -> None:
    choir: Any = Choir(acks_late=False)
    try:
        assert run(choir.app, choir.part()).end is End.SUCCEEDED
    finally:
        choir.close()
