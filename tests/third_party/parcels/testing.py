"""Opens the broker for the contract suite: TASKD_TEST_BROKER=parcels.testing:open_for_test."""

from __future__ import annotations

from pathlib import Path

from taskd.brokers.timing import Timing
from taskd.config.stores import Stores

from .broker import ParcelsBroker


def open_for_test(directory: Path, timing: Timing) -> ParcelsBroker:
    """Return a broker of its own for each directory, with the suite's clocks."""
    return ParcelsBroker(f"parcels://{directory}/parcels.db", Stores(), timing)
