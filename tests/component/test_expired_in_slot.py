"""A task that was claimed in time and waited for its slot too long does not run."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import msgspec
import pytest

from taskd.protocol.delivery import Outgoing
from tests.component.barrier_app import begun
from tests.component.small_worker import SmallWorker, message


def expiring(task: str, task_id: str, in_s: float) -> Outgoing:
    sent = message(task, task_id, task_id)
    at = (datetime.now(timezone.utc) + timedelta(seconds=in_s)).isoformat()
    return msgspec.structs.replace(sent, headers=sent.headers[:-1] + f',"expires":"{at}"}}'.encode())


@pytest.mark.parametrize("task", ["gated", "gated_early"])
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "asyncio"])
def test_a_task_that_expires_behind_another_is_revoked(pool: str, task: str) -> None:
    begun.clear()
    with SmallWorker(pool, concurrency=1, prefetch=8) as worker:
        # The pool knows that these are short, and sends the next ones to a child together.
        worker.send(*(message("note", f"short-{number}", "a") for number in range(4)))
        assert worker.outcome("short-3") == ("SUCCESS", "a")
        worker.send(
            message("slow", "first", "a", 0.6),
            message("note", "second", "b"),
            expiring(task, "third", 0.3),
            expiring("note", "fourth", 60),
        )

        state, error = worker.outcome("third")
        assert (state, type(error).__name__, str(error)) == ("REVOKED", "TaskRevokedError", "expired")
        assert worker.outcome("fourth") == ("SUCCESS", "fourth")
        assert worker.outcome("second") == ("SUCCESS", "b")
    assert not begun
    assert not worker.dead_letters()
