"""Which tasks run in this process, in a file that outlives it: so that its successor knows what it died of.

A task writes its id into a slot of a shared mapping when it begins and clears it when it ends: two stores,
no system call, and what a killed process wrote stays in the page cache.  The file stands beside the control
socket, in memory where that is a tmpfs; a reboot, of which no task is guilty, takes it away.

A child of prefork has a slot of its own in its worker's ledger.  The worker clears it when the child dies
alone; otherwise the worker's successor finds what the children ran that died with it.

A death counts against what was running, with two exceptions: a worker that had been asked to end was killed
because it did not in time, and one whose supervisor is not the same any more has died with that.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
from pathlib import Path

from taskd.consumer.suspects import MAX_KEY_BYTES, Suspects, key_of
from taskd.own_files import open_own

logger = logging.getLogger(__name__)

_MAGIC = b"taskd-running-1\n"
_STOPPING_AT = len(_MAGIC)
_HEADER_BYTES = 64
#: Which process writes, and which had started it: both in the header.
_PIDS = struct.Struct("<II")
_PIDS_AT = 32
_SLOT_BYTES = MAX_KEY_BYTES + 1
#: Tells the template the descriptor of its worker's ledger.
LEDGER_FD_VARIABLE = "TASKD_LEDGER_FD"
#: Padded with zeros; a slot that begins with one is free.
_KEY = struct.Struct(f"{MAX_KEY_BYTES}s")


class Ledger:
    """The running tasks of one worker process.  ``begin`` and ``end`` are safe in any thread."""

    def __init__(self, path: Path, slots: int) -> None:
        """Take over what the former process of this name left.  Raises: ``OSError``."""
        self.suspects = _read(path)
        temporary = Path(f"{path}.new")
        fd = open_own(str(temporary), os.O_RDWR | os.O_CREAT, 0o600)
        with open(fd, "r+b") as file:
            file.truncate(0)  # zeros from here on, whatever it held
            file.truncate(_HEADER_BYTES + slots * _SLOT_BYTES)
            self._map = mmap.mmap(file.fileno(), 0)
            #: For a template, whose children write into it.
            self.fd = os.dup(file.fileno())
        self._map[: len(_MAGIC)] = _MAGIC
        _PIDS.pack_into(self._map, _PIDS_AT, os.getpid(), os.getppid())
        temporary.replace(path)
        self._path = path
        # ``pop`` and ``append`` of a list are atomic.
        self._free = list(range(_HEADER_BYTES, _HEADER_BYTES + slots * _SLOT_BYTES, _SLOT_BYTES))

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
        self._path.unlink(missing_ok=True)
        os.close(self.fd)


class ChildLedger:
    """The slot of one prefork child, which runs one task at a time, in the ledger of its worker."""

    def __init__(self, fd: int) -> None:
        """Map the worker's ledger, in the template."""
        self._map = mmap.mmap(fd, 0)
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


def _read(path: Path) -> Suspects:
    """Return what was running when the last process died of it.  Raises: ``OSError``."""
    try:
        with open(open_own(str(path), os.O_RDONLY, 0), "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return Suspects()
    if not content.startswith(_MAGIC) or len(content) < _HEADER_BYTES or content[_STOPPING_AT]:
        return Suspects()
    pid, parent = _PIDS.unpack_from(content, _PIDS_AT)
    if parent != os.getppid():
        return Suspects()
    slots = (content[at : at + _SLOT_BYTES] for at in range(_HEADER_BYTES, len(content), _SLOT_BYTES))
    return Suspects([slot.rstrip(b"\0") for slot in slots if slot[:1] != b"\0"], pid)


def open_ledger(control_socket: str, program: str, slots: int) -> Ledger | None:
    """Return the ledger of a program; None where it cannot be kept, which is logged once."""
    directory = Path(control_socket).parent
    try:
        return Ledger(directory / f"{program}.running", slots)
    except OSError as error:
        logger.info("deaths of this worker are not counted against its tasks: %s", error)
        return None
