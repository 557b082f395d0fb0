"""Wake-ups for transports that tell nobody when a message comes: a look at fixed intervals."""

from __future__ import annotations

import threading

from taskd.base.wakeup import Wakeup

#: How long a message may wait until somebody looks.
INTERVAL_S = 0.1


class Poll:
    """A descriptor that becomes readable every ``INTERVAL_S``, by a thread of its own."""

    def __init__(self) -> None:
        self._wakeup = Wakeup()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="taskd-poll", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            self._wakeup.set()

    def set(self) -> None:
        """Make it readable at once."""
        self._wakeup.set()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._wakeup.fileno()

    def clear(self) -> None:
        """Make it unreadable until the next time."""
        self._wakeup.clear()

    def close(self) -> None:
        """End the thread.  May be called twice."""
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join()
            self._wakeup.close()
