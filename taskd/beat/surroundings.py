"""The connections of a beat: its broker, its store, its supervisor and its clock."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from taskd.base import clock
from taskd.base.backoff import Backoff
from taskd.beat.keeper import LEASE_S
from taskd.beat.stores.base import BeatStore
from taskd.brokers.base import Broker
from taskd.protocol.status import StatusLine

RECONNECT = Backoff(base_s=0.2, max_s=15.0, floor_s=0.05)


def _nobody_hears(names: Collection[str]) -> None:
    """The schedules of apps do not change."""


@dataclass(frozen=True, slots=True)
class BeatSurroundings:
    """The connections of a beat, its clocks and its patience, so that tests can set them."""

    #: Opens the broker anew at each attempt.
    connect: Callable[[], Broker]
    open_store: Callable[[], BeatStore]
    report: Callable[[StatusLine], None]
    now: Callable[[], float] = clock.now
    backoff: Backoff = RECONNECT
    lease_s: float = LEASE_S
    #: Hears the names of entries of apps of which a run was sent.
    ran: Callable[[Collection[str]], None] = _nobody_hears
