"""Raise an exception in another thread, as far as CPython can.

The exception is raised between two bytecodes of the thread: it cannot interrupt C code, such as a
blocking read, a lock that is waited for, or ``time.sleep``.  It comes when that returns.
"""

from __future__ import annotations

import ctypes


class JobAborted(BaseException):
    """Raised inside a job to end it.  Not an ``Exception``: a job's ``except Exception`` lets it pass."""


#: The message of a cancellation of asyncio that stands for ``JobAborted``.
ABORTED = "taskd: the job is aborted"


def is_abort(error: BaseException) -> bool:
    """Return whether the pool has raised this in a job to end it: it reports the end itself."""
    # Not isinstance, which asks the exception itself: its __getattribute__ may raise.
    if issubclass(type(error), JobAborted):
        return True
    # By name: asyncio is imported by those alone who use it.
    return type(error).__name__ == "CancelledError" and error.args == (ABORTED,)


def raise_in_thread(ident: int, error: type[BaseException]) -> None:
    """Have ``error`` raised in the thread; a former one that it has not seen yet is replaced."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(error))


def forget_in_thread(ident: int) -> None:
    """Take back what was asked for and has not been raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), None)
