"""The stacks of Python code that faulthandler writes from C: at a crash, and when a signal asks for them.

faulthandler gives the main thread a stack for signals, on which the interpreter's handlers run, too.  It has
room for four of them.  The kernel delivers all signals that wait at once, one handler on top of the other:
the fifth overflows that stack and crashes the process.  So each function here gives the thread a larger one.
For the main thread.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
from functools import cache

#: For each of the 31 signals: the registers of any processor, and the handler's own variables.
_ROOM_OF_A_HANDLER = 32 * 1024
_ROOM = 32 * _ROOM_OF_A_HANDLER

_libc = ctypes.CDLL(None, use_errno=True)
_libc.malloc.restype = ctypes.c_void_p


class _Stack(ctypes.Structure):
    """The ``stack_t`` of sigaltstack(2)."""

    _fields_ = (("ss_sp", ctypes.c_void_p), ("ss_flags", ctypes.c_int), ("ss_size", ctypes.c_size_t))


def write_at_a_crash(descriptor: int = 2) -> None:
    """Write the stacks of all threads to ``descriptor`` when a signal of the processor ends this process."""
    faulthandler.enable(descriptor, all_threads=True)
    _make_room()


def write_at(number: int) -> None:
    """Write the stacks of all threads to standard error at each signal of this number."""
    faulthandler.register(number, all_threads=True)
    _make_room()


def _make_room() -> None:
    stack = _Stack(_room(), 0, _ROOM)
    if _libc.sigaltstack(ctypes.byref(stack), None) != 0:
        failure = ctypes.get_errno()
        raise OSError(failure, os.strerror(failure), "sigaltstack")


@cache
def _room() -> int:
    """Return the address of memory that outlives the interpreter; only what is used of it costs memory."""
    address = _libc.malloc(ctypes.c_size_t(_ROOM))
    if address is None:
        raise MemoryError
    return int(address)
