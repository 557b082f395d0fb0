"""The worker's ends of the broker and of the results."""

from __future__ import annotations

from dataclasses import dataclass

from taskd.brokers.base import Broker, Publisher
from taskd.results.base import ChordStore, ResultStore


@dataclass(frozen=True, slots=True)
class Backends:
    """Where messages come from, and where outcomes go."""

    broker: Broker
    publisher: Publisher
    results: ResultStore
    #: Counts the parts of chords; None where results are kept without that.
    chords: ChordStore | None = None
