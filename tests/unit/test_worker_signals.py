"""What a signal makes of a worker's shutdown."""

from __future__ import annotations

import signal

import pytest

from taskd.consumer.orders import Shutdown
from taskd.worker.signals import next_shutdown


@pytest.mark.parametrize(
    ("present", "number", "expected"),
    [
        (Shutdown.NONE, signal.SIGTERM, Shutdown.WARM),
        (Shutdown.NONE, signal.SIGINT, Shutdown.WARM),
        (Shutdown.NONE, signal.SIGQUIT, Shutdown.COLD),
        (Shutdown.NONE, signal.SIGHUP, Shutdown.NONE),
        (Shutdown.WARM, signal.SIGTERM, Shutdown.COLD),
        (Shutdown.WARM, signal.SIGINT, Shutdown.COLD),
        (Shutdown.WARM, signal.SIGQUIT, Shutdown.COLD),
        (Shutdown.WARM, signal.SIGHUP, Shutdown.WARM),
        (Shutdown.COLD, signal.SIGTERM, Shutdown.COLD),
        (Shutdown.COLD, signal.SIGQUIT, Shutdown.COLD),
    ],
)
def test_each_signal_leads_where_the_table_says(present: Shutdown, number: int, expected: Shutdown) -> None:
    assert next_shutdown(present, number) is expected
