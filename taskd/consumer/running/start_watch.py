"""Notice which tasks have begun, for the pool does not say it.

The pool is looked at now and then while somebody hears of starts.  ``started`` may come late, at the latest
right before the task's end, but its time is the true one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from taskd.base import clock
from taskd.base.loop import Loop, LoopTimer
from taskd.consumer.moments import Moments, RunEnded, RunLost, RunStarted
from taskd.consumer.request import WorkerRequest
from taskd.consumer.running.work import Work

#: How often to look for tasks that have begun.
_LOOK_EVERY_S = 0.1


class StartWatch:
    """Publishes ``started`` of one worker while somebody subscribes to it."""

    def __init__(self, loop: Loop, work: Work, moments: Moments) -> None:
        self._loop = loop
        self._work = work
        self._moments = moments
        #: Ids of tasks that were received and not yet seen to begin.
        self._unstarted: set[str] = set()
        self._timer: LoopTimer | None = None
        self._subscriptions: list[Callable[[], None]] = []
        moments.started.when_heard(self._switch)

    def _switch(self, heard: bool) -> None:
        for end in self._subscriptions:
            end()
        self._subscriptions = []
        if heard:
            moments = self._moments
            self._subscriptions = [
                moments.received.subscribe(self._received),
                moments.ended.subscribe(self._ended),
                moments.lost.subscribe(self._lost),
            ]
        else:
            self._unstarted.clear()

    def _received(self, requests: Sequence[WorkerRequest]) -> None:
        self._unstarted.update(request.headers.id for request in requests)
        if self._timer is None:
            self._timer = self._loop.call_later(_LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        self._timer = None
        requests = self._work.requests
        # Jobs that were taken back from the pool are no longer waited for.
        self._unstarted.intersection_update(request.headers.id for request in requests.values())
        now_at = clock.now()
        now = clock.monotonic()
        found: list[RunStarted] = []
        for running in self._work.pool.running():
            request = requests.get(running.tag)
            if request is not None and request.headers.id in self._unstarted:
                self._unstarted.discard(request.headers.id)
                found.append(RunStarted(request.headers, request.options, now_at - (now - running.since)))
        if found:
            self._moments.started.publish(found)
        if self._unstarted:
            self._timer = self._loop.call_later(_LOOK_EVERY_S, self._look)

    def _ended(self, ended: Sequence[RunEnded]) -> None:
        """Tell of starts that nobody has seen, before their ends are told."""
        now_at = clock.now()
        found: list[RunStarted] = []
        for each in ended:
            if each.headers.id in self._unstarted:
                self._unstarted.discard(each.headers.id)
                if each.reply is not None and each.options is not None:
                    found.append(RunStarted(each.headers, each.options, now_at - (each.runtime_s or 0.0)))
        if found:
            self._moments.started.publish(found)

    def _lost(self, lost: Sequence[RunLost]) -> None:
        for each in lost:
            self._unstarted.discard(each.request.headers.id)
