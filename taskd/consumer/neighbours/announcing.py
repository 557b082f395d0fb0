"""Events: the step that connects the dispatcher, and the events that tell of this worker itself."""

from __future__ import annotations

import os

from taskd.base import clock
from taskd.base.blueprint import Given, Step
from taskd.base.lifecycle import Deadline
from taskd.base.version import __version__
from taskd.consumer.connection import Connection
from taskd.consumer.context import Context
from taskd.events.dispatcher import Dispatcher
from taskd.protocol.events import SOFTWARE, WorkerEvent, WorkerHeartbeat, WorkerOffline, WorkerOnline

#: Seconds between two heartbeats for monitors and neighbours; Celery's.
FREQ_S = 2.0


class Events(Step[Dispatcher]):
    """Sends worker and task events to monitors and neighbours while the inner blueprint runs."""

    name = "Events"
    requires = (Connection,)

    def __init__(self, context: Context) -> None:
        self._context = context

    def start(self, given: Given) -> Dispatcher:
        """Connect the dispatcher; events that could not be sent before go out first."""
        dispatcher = self._context.dispatcher
        dispatcher.connect(self._context.broker.event_sender())
        return dispatcher

    def stop(self, deadline: Deadline) -> None:
        """Disconnect it; later events are kept for the next connection."""
        self._context.dispatcher.disconnect()

    def info(self) -> dict[str, object]:
        """Return how many events were sent and dropped."""
        return {"events": self._context.dispatcher.info()}


class Announcer:
    """Tells monitors and neighbours that this worker is there, and how loaded it is."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._system = os.uname().sysname

    def online(self) -> None:
        """Say that it consumes."""
        self._send(WorkerOnline)

    def heartbeat(self, freq_s: float = FREQ_S) -> None:
        """Say that it lives, and will say so again within ``freq_s``."""
        self._send(WorkerHeartbeat, freq_s)

    def offline(self) -> None:
        """Say that it ends."""
        self._send(WorkerOffline)

    def _send(self, kind: type[WorkerEvent], freq_s: float = FREQ_S) -> None:
        context = self._context

        def make() -> WorkerEvent:
            one, five, fifteen = os.getloadavg()
            return kind(
                **context.dispatcher.stamp(clock.now()),
                freq=freq_s,
                active=len(context.pool.running()),
                processed=context.done,
                loadavg=(round(one, 2), round(five, 2), round(fifteen, 2)),
                sw_ident=SOFTWARE,
                sw_ver=__version__,
                sw_sys=self._system,
            )

        context.dispatcher.send(make)
