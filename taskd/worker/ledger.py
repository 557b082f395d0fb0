"""The tasks that run in this process, in memory that outlives it: its successor learns the cause of death.

A task writes its id into a slot of a shared mapping when it begins and clears it when it ends: two stores,
no system call.  The supervisor makes the memory and keeps it, of each process for the next one
(``taskd.supervisor.process.legacy``); it goes with the supervisor, of whose end no task is guilty.

A child of prefork has a slot of its own in its worker's ledger.  The worker clears it when the child dies
alone; otherwise the worker's successor finds the tasks of the children that died with it.

A death counts against what was running, unless the worker had been asked to end: then it was killed because
it did not in time.
"""

from __future__ import annotations

import mmap
import os
import struct

from taskd.consumer.claiming.suspects import MAX_KEY_BYTES, Suspects, key_of
from taskd.protocol.status import LEDGER_FDS_VARIABLE

_MAGIC = b"taskd-running-1\n"
_STOPPING_AT = len(_MAGIC)
_HEADER_BYTES = 64
# The process that writes, and how many bytes the header and its slots have.
_FACTS = struct.Struct("<II")
_FACTS_AT = 32
_SLOT_BYTES = MAX_KEY_BYTES + 1
#: Tells the template the descriptor of its worker's ledger.
LEDGER_FD_VARIABLE = "TASKD_LEDGER_FD"
#: Padded with zeros; a slot that begins with one is free.
_KEY = struct.Struct(f"{MAX_KEY_BYTES}s")


class Ledger:
    """The running tasks of one worker process.  ``begin`` and ``end`` are safe in any thread."""

    def __init__(self, fd: int, slots: int, suspects: Suspects | None = None) -> None:
        """Write into the memory ``fd``, which is new and belongs to this from now on."""
        self.suspects = suspects or Suspects()
        #: For a template, whose children write into it.
        self.fd = fd
        room = os.fstat(fd).st_size
        size = min(_HEADER_BYTES + slots * _SLOT_BYTES, room - room % _SLOT_BYTES)
        self._map = mmap.mmap(fd, size)
        _FACTS.pack_into(self._map, _FACTS_AT, os.getpid(), size)
        self._map[: len(_MAGIC)] = _MAGIC
        # ``pop`` and ``append`` of a list are atomic.
        self._free = list(range(_HEADER_BYTES, size, _SLOT_BYTES))

    def begin(self, task_id: str) -> int:
        """Note that a task begins; return its slot, 0 when none is free (abandoned tasks keep theirs)."""
        try:
            slot = self._free.pop()
        except IndexError:
            return 0
        _KEY.pack_into(self._map, slot, key_of(task_id))
        return slot

    def end(self, slot: int) -> None:
        """Note that the task of a slot has ended, however."""
        if slot:
            self._map[slot] = 0
            self._free.append(slot)

    def forget(self, task_id: str) -> None:
        """Note that a task has ended with the child that ran it, which could not say so."""
        key, at = _KEY.pack(key_of(task_id)), _HEADER_BYTES - 1
        while (at := self._map.find(key, at + 1)) >= 0:
            if (at - _HEADER_BYTES) % _SLOT_BYTES == 0:
                self._map[at] = 0

    def stopping(self) -> None:
        """Note that the worker was asked to end.  May be called in a signal handler."""
        self._map[_STOPPING_AT] = 1

    def close(self) -> None:
        """The process ends in order: nothing is to be known of it.  The mapping goes with the process."""
        self._map[: len(_MAGIC)] = bytes(len(_MAGIC))
        os.close(self.fd)


class ChildLedger:
    """The slot of one prefork child, which runs one task at a time, in the ledger of its worker."""

    def __init__(self, fd: int) -> None:
        """Map the worker's ledger, in the template."""
        _, size = _FACTS.unpack(os.pread(fd, _FACTS.size, _FACTS_AT))
        self._map = mmap.mmap(fd, size)
        self._slot = 0

    def take_slot(self, number: int) -> None:
        """Take the slot of the child ``number``, counted from 1.  In the child."""
        at = _HEADER_BYTES + (number - 1) * _SLOT_BYTES
        self._slot = at if at + _SLOT_BYTES <= len(self._map) else 0

    def begin(self, task_id: str) -> int:
        """Note that a task begins; return the slot, 0 for none."""
        if self._slot:
            _KEY.pack_into(self._map, self._slot, key_of(task_id))
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


def suspects_in(fd: int) -> Suspects:
    """Return what was running when the process that wrote into ``fd`` died of it."""
    header = os.pread(fd, _HEADER_BYTES, 0)
    if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES or header[_STOPPING_AT]:
        return Suspects()
    pid, size = _FACTS.unpack_from(header, _FACTS_AT)
    content = os.pread(fd, min(size, os.fstat(fd).st_size), 0)
    slots = (content[at : at + _SLOT_BYTES] for at in range(_HEADER_BYTES, len(content), _SLOT_BYTES))
    return Suspects([slot.rstrip(b"\0") for slot in slots if slot[:1] != b"\0"], pid)


def open_ledger(slots: int) -> Ledger | None:
    """Return the ledger in the memory that the supervisor passed; None where there is no supervisor."""
    named = os.environ.pop(LEDGER_FDS_VARIABLE, "")
    if not named:
        return None
    own, *former = map(int, named.split(","))
    os.set_inheritable(own, False)
    suspects = Suspects()
    for fd in former:
        suspects = suspects_in(fd)
        os.close(fd)
    return Ledger(own, slots, suspects)
