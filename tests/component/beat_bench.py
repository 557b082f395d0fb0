"""Beats on a loop over a real store and a broker that a test can switch off."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from taskd.base import clock
from taskd.base.backoff import Backoff
from taskd.base.errors import BrokerError
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.beat.service import Beat
from taskd.beat.stores.base import BeatStore, Decision
from taskd.beat.stores.sqlite import SqliteStore
from taskd.beat.surroundings import BeatSurroundings
from taskd.brokers.base import Broker
from taskd.brokers.desk import QueueInfo
from taskd.brokers.timing import Timing
from taskd.config.built_in import MEMORY
from taskd.config.schedule import BeatEntryConfig
from taskd.config.stores import SqliteConfig
from taskd.protocol.delivery import Outgoing
from taskd.protocol.events import Seen, decode
from taskd.protocol.status import StatusLine

NOON = 1_772_366_400.0
AT_ONCE = Backoff(base_s=0.001, max_s=0.001)


class Away:
    """A broker that can be switched off; it is its own publisher and keeps what it is sent."""

    url = "away://"
    kind = MEMORY

    def __init__(self) -> None:
        self.is_away = False
        self.sent: list[Outgoing] = []
        self.over: set[str] = set()
        self.open = 0
        self.is_listened = self.is_deaf = False
        self.heard: list[Seen] = []

    def connect(self) -> Broker:
        if self.is_away:
            raise BrokerError("nobody is there")
        self.open += 1
        return self  # type: ignore[return-value]  # the part of a broker that beat uses

    def desk(self) -> Away:
        return self

    def queues(self) -> Sequence[QueueInfo]:
        return []

    def once(self) -> Away:
        self.open += 1
        return self

    @property
    def ids(self) -> list[str]:
        return [message.task_id for message in self.sent]

    def publish_once(self, messages: Sequence[Outgoing], *, until: float) -> Collection[str]:
        assert clock.monotonic() < until
        if self.is_away:
            raise BrokerError("nobody is there")
        known = set(self.ids)
        self.sent.extend(message for message in messages if message.task_id not in known)
        return known & {message.task_id for message in messages}

    def active(self, task_ids: Collection[str]) -> Collection[str]:
        return (set(self.ids) - self.over) & set(task_ids)

    def forget(self, older_than_s: float) -> None:
        assert older_than_s > 60.0

    def event_sender(self) -> Listeners:
        self.open += 1
        return Listeners(self)

    def close(self) -> None:
        self.open -= 1


class Listeners:
    """Those who listen to a broker that can be switched off."""

    def __init__(self, broker: Away) -> None:
        self._broker = broker

    def listened(self) -> bool:
        return self._broker.is_listened

    def send(self, messages: Sequence[Outgoing]) -> None:
        if self._broker.is_deaf:
            raise BrokerError("events are not taken")
        for message in messages:
            seen, problems = decode(message.body, message.content_type)
            assert not problems
            self._broker.heard += seen

    def close(self) -> None:
        self._broker.open -= 1


class Bench:
    """Beats over one broker and one store, with a clock that the test sets."""

    def __init__(self, loop: Loop, directory: Path, *entries: BeatEntryConfig) -> None:
        self.now_at = NOON
        self.looks = 0
        self.loop = loop
        self.path = directory / "beat.db"
        self.broker = Away()
        self.lines: list[StatusLine] = []
        self.entries = {entry.name: entry for entry in entries}
        self.beats: list[Beat] = []

    def now(self) -> float:
        self.looks += 1
        return self.now_at

    def open_store(self, *, listens: bool = True) -> BeatStore:
        timing = Timing(now=lambda: self.now_at)
        return SqliteStore(f"sqlite://{self.path}", SqliteConfig(), 50, timing, listens=listens)

    @property
    def surroundings(self) -> BeatSurroundings:
        return BeatSurroundings(self.broker.connect, self.open_store, self.lines.append, self.now, AT_ONCE)

    def start(self, **surroundings: Any) -> Beat:
        beat = Beat(self.loop, self.entries, replace(self.surroundings, **surroundings))
        self.beats.append(beat)
        beat.start()
        return beat

    def stop(self) -> None:
        """Stop all beats, as at the end of their process."""
        for beat in self.beats:
            beat.stop(Deadline.after(0.0))
        self.beats.clear()

    def advance(self, span_s: float) -> None:
        """Set the clock ahead and let beat look at it, as its longest sleep would make it do."""
        self.now_at += span_s
        for beat in self.beats:
            beat.tick()

    def run_until_sent(self, count: int) -> None:
        until = clock.monotonic() + 5.0
        while len(self.broker.sent) < count and clock.monotonic() < until:
            self.loop.run_once(0.1)
        assert len(self.broker.sent) == count

    def operator(self) -> BeatStore:
        return self.open_store(listens=False)

    def history(self, name: str | None = None) -> list[Decision]:
        """Return the decisions, the oldest first."""
        store = self.operator()
        try:
            return list(store.history(name, 1000))[::-1]
        finally:
            store.close()


def every(name: str, span_s: float, **options: Any) -> BeatEntryConfig:
    """Return an entry with an interval."""
    return BeatEntryConfig(name=name, task=f"tasks.{name}", every=span_s, **options)
