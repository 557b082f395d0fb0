"""Follow a schedule that changes while beat runs: one line for each change, by two pipes to beat.

To beat: a JSON document for each change, or that the schedule cannot be read; an empty line now and then says
that this process lives.  From beat: the names of entries that were sent, one JSON list a line.  The end of
beat's pipe ends this process.
"""

from __future__ import annotations

import logging
import os
import select
from collections.abc import Mapping, Sequence

import msgspec

from taskd.base import clock
from taskd.execution.task_app import ChangingSchedule

#: How often the schedule is looked at: a change is seen within a second.
LOOK_S = 0.5
#: How often beat hears that this process lives.
_SIGN_S = 20.0
#: How often a schedule that cannot be read is tried again.
_AGAIN_S = 1.0

logger = logging.getLogger(__name__)


class Following:
    """One schedule, and the two ends of the pipes."""

    def __init__(
        self, schedule: ChangingSchedule, tasks: Sequence[str], *, answer_fd: int, order_fd: int
    ) -> None:
        self._schedule = schedule
        self._tasks = tasks
        self._answer_fd = answer_fd
        self._order_fd = order_fd
        self._orders = bytearray()
        self._ran: list[str] = []
        self._problem = ""
        self._sign_at = 0.0

    def run(self) -> None:
        """Follow until beat closes its end, and note the last runs."""
        while self._take_orders(self._look()):
            pass
        for name in self._ran:
            self._schedule.ran(name)

    def _look(self) -> float:
        """Look once and tell of what is new; return how long to wait for the next look."""
        try:
            while self._ran:
                self._schedule.ran(self._ran[0])
                self._ran.pop(0)
            reading = self._schedule.read(again=bool(self._problem))
        except Exception as error:  # noqa: BLE001 - the barrier of the schedule: databases and users' classes
            self._cannot(str(error) or type(error).__name__)
            return _AGAIN_S
        if reading is not None:
            self._problem = ""
            self._tell(
                {
                    "entries": reading.entries,
                    "tasks": self._tasks,
                    "since": reading.since,
                    "problems": reading.problems,
                }
            )
        elif clock.monotonic() >= self._sign_at:
            self._write(b"\n")
        return min(LOOK_S, self._schedule.wait_s())

    def _cannot(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._tell({"problem": problem})
        elif clock.monotonic() >= self._sign_at:
            self._write(b"\n")

    def _tell(self, document: Mapping[str, object]) -> None:
        self._write(msgspec.json.encode({"changing": True, **document}) + b"\n")

    def _write(self, data: bytes) -> None:
        self._sign_at = clock.monotonic() + _SIGN_S
        while data:
            data = data[os.write(self._answer_fd, data) :]

    def _take_orders(self, wait_s: float) -> bool:
        """Wait for names of entries that were sent; False when beat has gone."""
        ready, _, _ = select.select([self._order_fd], [], [], max(wait_s, 0.0))
        if not ready:
            return True
        chunk = os.read(self._order_fd, 1 << 16)
        self._orders += chunk
        while b"\n" in self._orders:
            line, _, rest = bytes(self._orders).partition(b"\n")
            self._orders = bytearray(rest)
            self._ran += msgspec.json.decode(line, type=list[str])
        return bool(chunk)
