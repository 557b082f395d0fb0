"""Measures the load of a group by the heartbeats of its processes.  Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from taskd.protocol.status import Heartbeat
from taskd.supervisor.scaling.load import Load

#: Weight of the newest second in the rate of arrivals: a change is believed after some three seconds.
SMOOTHING = 0.3
#: Silence of a whole group after which nothing is known of it; idle workers report every 15 s.
STALE_S = 40.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The newest heartbeat of one process, ``heard`` at monotonic seconds."""

    pid: int
    heard: float
    load: Heartbeat


@dataclass(slots=True)
class Meter:
    """Measures one group.  The rate of arrivals is what was done and what waits more than before."""

    _at: float | None = None
    _ready: int = 0
    _done: Mapping[int, int] = field(default_factory=dict)
    _per_s: float = 0.0

    def read(self, samples: Iterable[Sample], now: float) -> Load | None:
        """Return the load; None when no process has said anything lately."""
        fresh = [sample for sample in samples if now - sample.heard < STALE_S]
        if not fresh:
            self._at = None
            return None
        newest = max(fresh, key=lambda each: each.heard)
        # All of them look at the same queues, so the newest look counts for all.
        ready = newest.load.depth
        self._measure(ready, {sample.pid: sample.load.done for sample in fresh}, now)
        weights = [max(1, sample.load.done) for sample in fresh if sample.load.mean_s > 0.0]
        means = [sample.load.mean_s for sample in fresh if sample.load.mean_s > 0.0]
        mean_s = sum(w * m for w, m in zip(weights, means, strict=True)) / sum(weights) if weights else 0.0
        return Load(
            ready=ready,
            busy=sum(sample.load.busy for sample in fresh),
            service_s=mean_s,
            arrivals_per_s=self._per_s,
            process_bytes=max(sample.load.rss_bytes for sample in fresh),
        )

    def _measure(self, ready: int, done: Mapping[int, int], now: float) -> None:
        if self._at is not None and now > self._at:
            # A process that is new began at zero; one that has ended took its count along.
            finished = sum(count - self._done.get(pid, 0) for pid, count in done.items())
            passed_s = now - self._at
            arrived = max(0.0, (finished + ready - self._ready) / passed_s)
            weight = 1.0 - (1.0 - SMOOTHING) ** passed_s
            self._per_s += weight * (arrived - self._per_s)
        self._at = now
        self._ready = ready
        self._done = dict(done)
