"""Events that clients and tasks send themselves: ``task-sent``, and what a task tells of its own.

News, not work: nothing is made while nobody listens, and what the broker does not take is dropped, logged
now and then, and no error of whoever sent a task.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence

from taskd.base import clock, forks, ids
from taskd.base.errors import BackendError
from taskd.brokers.base import EventSender
from taskd.brokers.event_sender import LazyEventSender
from taskd.brokers.topology import EVENT_EXCHANGE
from taskd.protocol import events, serializers
from taskd.protocol.delivery import Outgoing
from taskd.protocol.events import TaskSent
from taskd.protocol.lamport import LamportClock
from taskd.protocol.message import decode_headers

logger = logging.getLogger(__name__)

#: Troubles are logged at most this often.
_SAY_EVERY_S = 60.0
_COMMON = frozenset({"type", "hostname", "timestamp", "clock", "pid", "utcoffset", "uuid"})


class SenderNews:
    """Sends events of one process.  Threads take turns; a forked child opens a connection of its own."""

    def __init__(self, open_sender: Callable[[], EventSender]) -> None:
        self._open_sender = open_sender
        forks.renew(self)

    def renew(self) -> None:
        """Start with a lock, a connection and a clock of its own."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._sender = LazyEventSender(self._open_sender)
        self._logical = LamportClock()
        self._say_from = 0.0

    def sent(self, messages: Sequence[Outgoing]) -> None:
        """Tell that a client has sent tasks.  Never raises for the broker's trouble."""
        self._tell(lambda: [self._task_sent(message) for message in messages])

    def tell(self, event_type: str, hostname: str, task_id: str, fields: Mapping[str, object]) -> None:
        """Tell an event of a task's own.  Never raises for the broker's trouble.

        Raises: ``ValueError`` for a type or a field that is taskd's to say, ``SerializationError``.
        """
        if event_type in events.EVENTS or not event_type.startswith("task-") or len(event_type) > 200:
            raise ValueError(
                f'event type "{event_type}": expected "task-" and a word of your own, such as "task-progress"'
            )
        if taken := _COMMON.intersection(fields):
            raise ValueError(f"event {event_type}: every event has {', '.join(sorted(taken))} already")
        body = {"type": event_type, **self._stamp(hostname), "uuid": task_id, **fields}
        text = serializers.dumps(body)
        self._tell(lambda: [self._message(event_type, hostname, text)])

    def _task_sent(self, message: Outgoing) -> Outgoing:
        headers = decode_headers(message.headers)
        hostname = ids.origin()
        event = TaskSent(
            **self._stamp(hostname),  # type: ignore[arg-type]  # the fields that all events have
            uuid=message.task_id,
            name=headers.task,
            args=headers.argsrepr or "",
            kwargs=headers.kwargsrepr or "",
            root_id=headers.root_id,
            parent_id=headers.parent_id,
            retries=headers.retries,
            eta=None if headers.eta is None else headers.eta.isoformat(),
            expires=None if headers.expires is None else headers.expires.isoformat(),
            queue="" if message.exchange else message.routing_key,
            exchange=message.exchange,
            routing_key=message.routing_key,
        )
        return self._message("task-sent", hostname, events.encode(event))

    def _stamp(self, hostname: str) -> dict[str, object]:
        return {
            "hostname": hostname,
            "timestamp": clock.now(),
            "clock": self._logical.forward(),
            "pid": self._pid,
            "utcoffset": clock.utcoffset_hours(),
        }

    def _message(self, event_type: str, hostname: str, body: bytes) -> Outgoing:
        return Outgoing(
            exchange=EVENT_EXCHANGE,
            routing_key=events.routing_key(event_type),
            headers=events.encode_headers(hostname),
            body=body,
            content_type=events.CONTENT_TYPE,
        )

    def _tell(self, make: Callable[[], Sequence[Outgoing]]) -> None:
        with self._lock:
            try:
                if self._sender.listened():
                    self._sender.send(make())
            except BackendError as error:
                now = clock.monotonic()
                if now >= self._say_from:
                    self._say_from = now + _SAY_EVERY_S
                    logger.warning("events are not sent: %s", error)

    def close(self) -> None:
        """Release the connection.  May be called twice."""
        with self._lock:
            self._sender.close()
