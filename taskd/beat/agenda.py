"""When the next thing is due: a heap of entries by time.  Pure: no clock, no sending.

Looking at what is due costs nothing for entries that are not.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable


class Agenda:
    """One time for each name; all times are wall-clock seconds."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._at: dict[str, float] = {}

    def plan(self, times: Iterable[tuple[str, float]]) -> None:
        """Put many names at once, forgetting all former ones; ``inf`` is never."""
        self._at = {name: at for name, at in times if at < math.inf}
        self._heap = [(at, name) for name, at in self._at.items()]
        heapq.heapify(self._heap)

    def put(self, name: str, at: float) -> None:
        """Set the time of a name; ``inf`` is never."""
        if at == math.inf:
            self._at.pop(name, None)
        else:
            self._at[name] = at
            heapq.heappush(self._heap, (at, name))

    def drop(self, name: str) -> None:
        """Forget a name; an unknown one is not an error."""
        self._at.pop(name, None)

    def take_due(self, now: float) -> str | None:
        """Return the name that is due for longest and forget it, None when nothing is due."""
        if self.next_at() > now:
            return None
        name = heapq.heappop(self._heap)[1]
        del self._at[name]
        return name

    def due(self, now: float) -> set[str]:
        """Return the names that are due and forget none; costs nothing for the others."""
        found: set[str] = set()
        places = [0]
        while places:
            place = places.pop()
            # Below a place of the heap nothing is earlier.
            if place < len(self._heap) and self._heap[place][0] <= now:
                at, name = self._heap[place]
                if self._at.get(name) == at:
                    found.add(name)
                places += (2 * place + 1, 2 * place + 2)
        return found

    def next_at(self) -> float:
        """Return when something will be due; ``inf`` when nothing ever is."""
        heap = self._heap
        # A name that was moved or dropped leaves its former place behind.
        while heap and self._at.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else math.inf
