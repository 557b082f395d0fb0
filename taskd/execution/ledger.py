"""Note which tasks run in this process, in memory that outlives it: its successor knows what it died of.

A task writes its id into a slot of a shared mapping when it begins and clears it when it ends: two stores,
no system call.  The supervisor makes the memory and keeps it, of each process for the next one
(``taskd.supervisor.process.legacy``); it goes with the supervisor, of whose end no task is guilty.

A child of prefork has a slot of its own in its worker's ledger.  The worker clears it when the child dies
alone; otherwise the worker's successor finds what the children ran that died with it.

A death counts against what was running, unless the worker had been asked to end: then it was killed because
it did not in time.
"""

from __future__ import annotations

import mmap
import os
from typing import Protocol

from taskd.protocol.ledger import (
    FACTS,
    FACTS_AT,
    HEADER_BYTES,
    KEY,
    LEDGER_FD_VARIABLE,
    MAGIC,
    SLOT_BYTES,
    STOPPING_AT,
    key_of,
)


class Running(Protocol):
    """Takes note of the tasks that run, such as a ledger.  Safe in any thread."""

    def begin(self, task_id: str) -> int:
        """Note that a task begins; return its slot, 0 for none."""

    def end(self, slot: int) -> None:
        """Note that it ended."""


class Ledger:
    """The running tasks of one worker process.  ``begin`` and ``end`` are safe in any thread."""

    def __init__(self, fd: int, slots: int) -> None:
        """Write into the memory ``fd``, which is new and belongs to this from now on."""
        #: For a template, whose children write into it.
        self.fd = fd
        room = os.fstat(fd).st_size
        size = min(HEADER_BYTES + slots * SLOT_BYTES, room - room % SLOT_BYTES)
        self._map = mmap.mmap(fd, size)
        FACTS.pack_into(self._map, FACTS_AT, os.getpid(), size)
        self._map[: len(MAGIC)] = MAGIC
        # ``pop`` and ``append`` of a list are atomic.
        self._free = list(range(HEADER_BYTES, size, SLOT_BYTES))

    def begin(self, task_id: str) -> int:
        """Note that a task begins; return its slot, 0 when none is free (abandoned tasks keep theirs)."""
        try:
            slot = self._free.pop()
        except IndexError:
            return 0
        KEY.pack_into(self._map, slot, key_of(task_id))
        return slot

    def end(self, slot: int) -> None:
        """Note that the task of a slot has ended, however."""
        if slot:
            self._map[slot] = 0
            self._free.append(slot)

    def forget(self, task_id: str) -> None:
        """Note that a task has ended with the child that ran it, which could not say so."""
        key = KEY.pack(key_of(task_id))
        at = HEADER_BYTES - 1
        while (at := self._map.find(key, at + 1)) >= 0:
            if (at - HEADER_BYTES) % SLOT_BYTES == 0:
                self._map[at] = 0

    def stopping(self) -> None:
        """Note that the worker was asked to end.  May be called in a signal handler."""
        self._map[STOPPING_AT] = 1

    def close(self) -> None:
        """The process ends in order: nothing is to be known of it.  The mapping goes with the process."""
        self._map[: len(MAGIC)] = bytes(len(MAGIC))
        os.close(self.fd)


class ChildLedger:
    """The slot of one prefork child, which runs one task at a time, in the ledger of its worker."""

    def __init__(self, fd: int) -> None:
        """Map the worker's ledger, in the template."""
        _, size = FACTS.unpack(os.pread(fd, FACTS.size, FACTS_AT))
        self._map = mmap.mmap(fd, size)
        self._slot = 0

    def take_slot(self, number: int) -> None:
        """Take the slot of the child ``number``, counted from 1.  In the child."""
        at = HEADER_BYTES + (number - 1) * SLOT_BYTES
        self._slot = at if at + SLOT_BYTES <= len(self._map) else 0

    def begin(self, task_id: str) -> int:
        """Note that a task begins; return the slot, 0 for none."""
        if self._slot:
            KEY.pack_into(self._map, self._slot, key_of(task_id))
        return self._slot

    def end(self, slot: int) -> None:
        """Note that the task has ended, however."""
        self._map[slot] = 0


def inherited_ledger() -> ChildLedger | None:
    """Return the ledger that the worker passed to this template, if there is one."""
    number = os.environ.pop(LEDGER_FD_VARIABLE, "")
    if not number.isdigit():
        return None
    ledger = ChildLedger(int(number))
    os.close(int(number))
    return ledger
