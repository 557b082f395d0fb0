"""Events: the step that connects the dispatcher, and the events that tell of this worker itself."""

from __future__ import annotations

import os

from taskd.base import clock
from taskd.base.blueprint import Given, Step
from taskd.base.lifecycle import Deadline
from taskd.base.version import __version__
from taskd.brokers.base import Broker
from taskd.consumer.connection import Connection
from taskd.consumer.running.statistics import Tally
from taskd.events.dispatcher import Dispatcher
from taskd.pools.base import Pool
from taskd.protocol.events import SOFTWARE, WorkerEvent, WorkerHeartbeat, WorkerOffline, WorkerOnline

#: Seconds between two heartbeats for monitors and neighbours; Celery's.
FREQ_S = 2.0


class Events(Step[Dispatcher]):
    """Sends worker and task events to monitors and neighbours while the inner blueprint runs."""

    name = "Events"
    requires = (Connection,)

    def __init__(self, dispatcher: Dispatcher, broker: Broker) -> None:
        self._dispatcher = dispatcher
        self._broker = broker

    def start(self, given: Given) -> Dispatcher:
        """Connect the dispatcher; events that could not be sent before go out first."""
        self._dispatcher.connect(self._broker.event_sender())
        return self._dispatcher

    def stop(self, deadline: Deadline) -> None:
        """Disconnect it; later events are kept for the next connection."""
        self._dispatcher.disconnect()

    def info(self) -> dict[str, object]:
        """Return how many events were sent and dropped."""
        return {"events": self._dispatcher.info()}


class Announcer:
    """Tells monitors and neighbours that this worker is there, and how loaded it is."""

    def __init__(self, dispatcher: Dispatcher, pool: Pool, tally: Tally) -> None:
        self._dispatcher = dispatcher
        self._pool = pool
        self._tally = tally
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
        def make() -> WorkerEvent:
            one, five, fifteen = os.getloadavg()
            return kind(
                **self._dispatcher.stamp(clock.now()),
                freq=freq_s,
                active=len(self._pool.running()),
                processed=self._tally.done,
                loadavg=(round(one, 2), round(five, 2), round(fifteen, 2)),
                sw_ident=SOFTWARE,
                sw_ver=__version__,
                sw_sys=self._system,
            )

        self._dispatcher.send(make)
