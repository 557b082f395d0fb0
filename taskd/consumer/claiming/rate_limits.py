"""Decides which limited task may begin now, and when each of the others is to come back.

Pure: monotonic times come in, decreasing never.  A message that may not begin yet goes back to the broker
until a time of its own, one interval after the one before.  So it holds neither a slot nor a place among the
claims, it is put back once, and messages of other tasks pass it.

Times for each task name.  ``free``: from when the next run is allowed; only it lets anything run, so
the limit holds whatever comes back when, and from whom.  ``tail``: the first return time that was not
given to anybody yet.  ``again``: the same for messages that have waited already and come at a wrong time,
because another worker had put them back or was faster.  They are next, and not the last of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taskd.base.rates import parse_rate
from taskd.sending.options import TaskOptions

#: A run that begins this much late, because the loop was busy, does not push back those after it.  So in any
#: window there is at most one run more than the limit says.
_LATE_S = 1.0
#: Rates so high that a loop's delay is several intervals keep their pace in bursts of this length.
_BURST_S = 0.05
#: A timer may fire a little early.
_EARLY_S = 0.001


@dataclass(slots=True)
class _Bucket:
    interval_s: float
    free: float
    tail: float
    again: float
    #: Newest message that was put back; an older one has waited already.  Only fairness hangs on it.
    newest: int = 0


class RateLimits:
    """The limits of one worker: those of the tasks' options, or the ones that replace them.

    The configuration replaces them, or an operator's command to this worker; the last one counts.
    """

    def __init__(self, configured: Mapping[str, str] | None = None) -> None:
        """``configured`` are rates as people write them, by the names of tasks."""
        self._configured = _parsed(configured or {})
        self._given: dict[str, float] = {}
        self._buckets: dict[str, _Bucket] = {}

    def set(self, name: str, rate: float) -> None:
        """Put ``rate``, in tasks a second, in the place of the task's own; 0 for no limit.

        Messages that have a time to come back already keep it.
        """
        self._given[name] = rate
        self._buckets.pop(name, None)

    def configure(self, configured: Mapping[str, str]) -> Sequence[str]:
        """Take another configuration over; return the names whose limit it changes.

        For these it counts from now on, whatever ``set`` said before.
        """
        former, self._configured = self._configured, _parsed(configured)
        names = [
            name for name in {**former, **self._configured} if former.get(name) != self._configured.get(name)
        ]
        for name in names:
            self._given.pop(name, None)
            self._buckets.pop(name, None)
        return names

    def rate_of(self, options: TaskOptions) -> float:
        """Return the limit in force for a task, in tasks a second; 0 for none."""
        name = options.name
        rate = self._given.get(name, self._configured.get(name))
        return options.rate_limit if rate is None else rate

    def wait_s(self, options: TaskOptions, tag: int, now: float) -> float:
        """Return 0.0 and count a run when the task may begin now, else after how long to try again.

        ``tag`` is the broker's for the message.
        """
        rate = self.rate_of(options)
        if rate <= 0.0:
            return 0.0
        bucket = self._buckets.get(options.name)
        if bucket is None or bucket.interval_s != 1.0 / rate:
            bucket = self._buckets[options.name] = _Bucket(1.0 / rate, now, now, now)
        interval_s = bucket.interval_s
        is_new = tag > bucket.newest
        # A new one does not take the place of those that have a time to come back.
        others_wait = is_new and bucket.tail - interval_s > now
        if now >= bucket.free - _EARLY_S and not others_wait:
            late_s = min(max(interval_s, _BURST_S), _LATE_S)
            bucket.free = max(bucket.free, now - late_s) + interval_s
            return 0.0
        if is_new:
            bucket.newest = tag
            due = max(bucket.tail, bucket.free)
            bucket.tail = due + interval_s
        else:
            due = max(bucket.again, bucket.free)
            bucket.again = due + interval_s
        return due - now


def _parsed(configured: Mapping[str, str]) -> Mapping[str, float]:
    return {name: parse_rate(text) for name, text in configured.items()}
