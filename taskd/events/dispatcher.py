"""Send the events of one node: task events in batches, worker events at once, nothing to nobody.

Events are news, not work: what cannot be sent is kept up to a bound, then the oldest are dropped and
counted.  No task ever waits for an event.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypedDict

from taskd.base import clock
from taskd.base.errors import BackendError
from taskd.base.loop import Loop, LoopTimer
from taskd.base.moment import Moment
from taskd.brokers.base import EventSender
from taskd.brokers.topology import EVENT_EXCHANGE
from taskd.protocol import events
from taskd.protocol.delivery import Outgoing
from taskd.protocol.events import Event, TaskEvent
from taskd.protocol.lamport import LamportClock

logger = logging.getLogger(__name__)

#: A task event waits at most this long for others to go with it,
LINGER_S = 0.05
#: but sending takes no more than this share of the loop's time, however slow the broker is,
_SHARE = 0.1
#: as long as events need not wait longer than this.
_LONGEST_LINGER_S = 2.0
#: Events in one message; a full one is sent without waiting.
BATCH = 250
#: Unsent task events beyond this push the oldest out.
MAX_WAITING = 10_000
#: How often to see whether somebody listens.
LOOK_EVERY_S = 1.0
#: Troubles are logged at most this often.
_SAY_EVERY_S = 60.0


class Stamp(TypedDict):
    """The fields that all events have."""

    hostname: str
    timestamp: float
    clock: int
    pid: int
    utcoffset: int


class Dispatcher:
    """The sending end of one node.  For the loop's thread; no method raises for the broker's trouble.

    ``on`` tells whether task events are wanted now: they are enabled, and somebody listens.  Their
    maker hears of each change, so that unwanted events cost nothing.
    """

    def __init__(self, loop: Loop, node_name: str, logical: LamportClock, *, tasks_enabled: bool) -> None:
        self._loop = loop
        self._node_name = node_name
        self._logical = logical
        self._pid = os.getpid()
        self._utcoffset = clock.utcoffset_hours()
        self._headers = events.encode_headers(node_name)
        self._sender: EventSender | None = None
        self._tasks_enabled = tasks_enabled
        self._waiting: deque[TaskEvent] = deque()
        self._flush_timer: LoopTimer | None = None
        self._look_timer: LoopTimer | None = None
        self._linger_s = LINGER_S
        self._say_from = 0.0
        self._dropped_before = 0
        self._on = False
        self._switched: Moment[bool] = Moment("events wanted")
        self.sent = 0
        self.dropped = 0

    # -- connection ----------------------------------------------------------------------------

    def connect(self, sender: EventSender) -> None:
        """Send through ``sender`` from now on; events that wait since the last connection go first."""
        self._sender = sender
        self._linger_s = LINGER_S
        self.look()
        if self._waiting:
            self._flush_timer = self._loop.call_later(LINGER_S, self._flush_now)

    def disconnect(self) -> None:
        """Send what waits if possible, close the sender and keep the rest for the next one."""
        self.flush()
        for timer in (self._flush_timer, self._look_timer):
            if timer is not None:
                timer.cancel()  # a failed flush has set it again
        self._flush_timer = None
        self._look_timer = None
        if self._sender is not None:
            self._sender.close()
            self._sender = None

    def look(self) -> None:
        """See whether somebody listens, now and at intervals while task events are enabled."""
        if self._look_timer is not None:
            self._look_timer.cancel()
            self._look_timer = None
        if not self._tasks_enabled or self._sender is None:
            self._switch(on=False)
            return
        self._look_timer = self._loop.call_later(LOOK_EVERY_S, self.look)
        self._utcoffset = clock.utcoffset_hours()  # summer time comes and goes
        self._switch(on=self._is_listened())

    def _switch(self, *, on: bool) -> None:
        if on is not self._on:
            self._on = on
            self._switched.publish(on)

    @property
    def on(self) -> bool:
        """Whether task events are wanted now."""
        return self._on

    def when_switched(self, tell: Callable[[bool], None]) -> None:
        """Call ``tell`` with whether task events are wanted, now and at each change."""
        self._switched.subscribe(tell)
        tell(self._on)

    def _is_listened(self) -> bool:
        assert self._sender is not None
        try:
            return self._sender.listened()
        except BackendError as error:
            self._say(f"nobody knows who listens to events: {error}")
            return self.on

    # -- task events ---------------------------------------------------------------------------

    @property
    def tasks_enabled(self) -> bool:
        """Whether task events are sent if somebody listens."""
        return self._tasks_enabled

    def enable_tasks(self, *, enabled: bool) -> bool:
        """Switch task events on or off; return whether that changed anything."""
        changed = enabled != self._tasks_enabled
        self._tasks_enabled = enabled
        self.look()
        return changed

    def stamp(self, at: float) -> Stamp:
        """Return the fields that all events have, for one that happened at the wall-clock second ``at``."""
        return {
            "hostname": self._node_name,
            "timestamp": at,
            "clock": self._logical.forward(),
            "pid": self._pid,
            "utcoffset": self._utcoffset,
        }

    def add(self, event: TaskEvent) -> None:
        """Send a task event soon, together with others."""
        waiting = self._waiting
        waiting.append(event)
        if len(waiting) > MAX_WAITING:
            waiting.popleft()
            self.dropped += 1
        if self._flush_timer is None and self._sender is not None:
            self._flush_timer = self._loop.call_later(self._linger_s, self._flush_now)
        elif len(waiting) == BATCH and self._linger_s == LINGER_S:
            # Not here: the caller is in the middle of its work.
            self._loop.call_soon(self.flush)

    def _flush_now(self) -> None:
        self._flush_timer = None
        self.flush()

    def flush(self) -> None:
        """Send the task events that wait.  After a failure they wait for the next time."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        if not self._waiting or self._sender is None:
            return
        if not self.on and not self._is_listened():
            self._waiting.clear()
            return
        waiting = self._waiting
        count = len(waiting)
        batches = [list(islice(waiting, first, first + BATCH)) for first in range(0, count, BATCH)]
        if self._send([message for batch in batches for message in self._messages(batch)]):
            for _ in range(count):
                waiting.popleft()
        else:
            self._flush_timer = self._loop.call_later(self._linger_s, self._flush_now)
        if self.dropped != self._dropped_before:
            self._say(
                f"events_dropped={self.dropped - self._dropped_before}: they come faster than they leave"
            )
            self._dropped_before = self.dropped

    # -- worker events -------------------------------------------------------------------------

    def send(self, make: Callable[[], Event]) -> None:
        """Send at once the event that ``make`` returns, after those that wait; nothing if nobody listens."""
        if self._sender is None or not self._is_listened():
            return
        self.flush()
        event = make()
        if not self._send([self._message(events.routing_key(events.type_of(event)), event)]):
            self.dropped += 1

    # -- the broker ----------------------------------------------------------------------------

    def _messages(self, batch: Sequence[TaskEvent]) -> Sequence[Outgoing]:
        """Return one message of all, or one of each where one event cannot be written, which is dropped."""
        key = events.multi_key("task")
        try:
            return [self._message(key, batch)]
        except Exception:
            logger.exception("task events cannot be written together")
        found: list[Outgoing] = []
        for event in batch:
            try:
                found.append(self._message(key, [event]))
            except Exception as error:  # noqa: BLE001 - the barrier of events
                self.dropped += 1
                self._say(f"an event of task {event.uuid} cannot be written: {error!r}")
        return found

    def _message(self, routing_key: str, body: Event | Sequence[Event]) -> Outgoing:
        return Outgoing(
            exchange=EVENT_EXCHANGE,
            routing_key=routing_key,
            headers=self._headers,
            body=events.encode(body),
            content_type=events.CONTENT_TYPE,
        )

    def _send(self, messages: Sequence[Outgoing]) -> bool:
        assert self._sender is not None
        began = clock.monotonic()
        try:
            self._sender.send(messages)
        except BackendError as error:
            self._linger_s = _LONGEST_LINGER_S
            self._say(f"events wait: {error}")
            return False
        took_s = clock.monotonic() - began
        self._linger_s = min(max(LINGER_S, took_s / _SHARE), _LONGEST_LINGER_S)
        self.sent += len(messages)
        return True

    def _say(self, trouble: str) -> None:
        now = clock.monotonic()
        if now >= self._say_from:
            self._say_from = now + _SAY_EVERY_S
            logger.warning("%s", trouble)

    def info(self) -> dict[str, object]:
        """Return what ``inspect stats`` says of it."""
        return {
            "tasks_enabled": self._tasks_enabled,
            "listened": self.on,
            "messages_sent": self.sent,
            "waiting": len(self._waiting),
            "dropped": self.dropped,
        }
