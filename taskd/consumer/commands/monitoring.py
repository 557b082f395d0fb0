"""The remote-control commands of monitors and neighbours: events on and off, signs of life, elections.

Names, arguments and replies are Celery's.
"""

from __future__ import annotations

from taskd.consumer.neighbours.announcing import Announcer
from taskd.consumer.neighbours.gossip import Neighbours
from taskd.events.dispatcher import Dispatcher

#: Celery's answer to ``heartbeat`` promises the next one within this time.
_ASKED_FREQ_S = 5.0


class Monitoring:
    """These commands, bound to one worker's parts."""

    def __init__(self, dispatcher: Dispatcher, announcer: Announcer, neighbours: Neighbours | None) -> None:
        """``neighbours``: None while Gossip takes no part."""
        self._dispatcher = dispatcher
        self._announcer = announcer
        self._neighbours = neighbours

    def enable_events(self) -> object:
        """Send task events from now on, while somebody listens."""
        return self._switch(on=True)

    def disable_events(self) -> object:
        """Send no task events any more."""
        return self._switch(on=False)

    def _switch(self, *, on: bool) -> object:
        word = "enabled" if on else "disabled"
        changed = self._dispatcher.enable_tasks(enabled=on)
        return {"ok": f"task events {word}" if changed else f"task events already {word}"}

    def heartbeat(self) -> object:
        """Send a heartbeat at once; a monitor that has just begun to listen asks for it."""
        self._dispatcher.look()
        self._announcer.heartbeat(_ASKED_FREQ_S)
        return None

    def election(self, id: str, topic: str, action: object = None) -> object:  # noqa: A002 - Celery's name
        """Choose, together with all workers that are asked the same, which of them does ``action``."""
        if self._neighbours is None:
            return {"error": "gossip takes no part here: the broker serves one host, or gossip = false"}
        self._neighbours.elect(id, topic, action)
        return None
