"""A template program for tests and benchmarks: its target does what the payload says.

Run as ``python -m tests.component.prefork_template [MODE]``.  In-process pools use ``target`` itself.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

import setproctitle

from taskd.base.errors import SoftTimeLimitExceeded
from taskd.pools.prefork.template import inherited_control, serve

_hoard: list[bytes] = []
#: The title of the process in which each rehearsal took place: "template" or "child".
_rehearsed: list[bytes] = []


def target(payload: bytes) -> bytes:  # noqa: PLR0911, PLR0912 - one line for each thing a job may do
    command, _, argument = payload.partition(b" ")
    match command:
        case b"noop":
            return b""
        case b"echo":
            return argument
        case b"huge":
            return b"x" * int(argument)
        case b"hoard":  # the process keeps the memory
            _hoard.append(b"x" * int(argument))
            return b""
        case b"pid":
            return str(os.getpid()).encode()
        case b"spin" | b"spin-soft":
            return _spin(float(argument), handle=command == b"spin-soft")
        case b"wait-for":  # PATH; the file's text once it is there
            return _spin_until(argument.decode())
        case b"touch":
            with open(argument, "ab") as file:
                file.write(b".")
            return b""
        case b"touch-and-spin":
            with open(argument, "ab") as file:
                file.write(b".")
            return _spin(60.0, handle=False)
        case b"sleep":
            time.sleep(float(argument))
            return b""
        case b"raise":
            raise ValueError(argument.decode())
        case b"system-exit":
            sys.exit(3)
        case b"os-exit":
            os._exit(int(argument))
        case b"segfault":
            ctypes.string_at(0)
        case b"fork-and-return":
            os.fork()
            return str(os.getpid()).encode()
        case b"fork-and-stay":  # a process that outlives the job and holds what it inherited
            return _leave_a_process(argument.decode())
        case b"not-bytes":
            return None  # type: ignore[return-value]
        case b"print":
            sys.stdout.write("x" * int(argument))
            return b""
        case b"garbage":  # into the socket to the pool
            return _write_to_the_pool(bytes.fromhex(argument.decode()))
        case b"kill-group":
            os.killpg(os.getpgrp(), signal.SIGKILL)
        case b"ignored":  # which signals a program that the job starts ignores and blocks
            return _signals_of_a_program()
        case b"close-all":
            os.closerange(3, 100)
            return b""
    return b"?"


def _write_to_the_pool(data: bytes) -> bytes:
    for fd in range(3, 20):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, data)
        except OSError:
            continue
    return b"wrote"


def _signals_of_a_program() -> bytes:
    words = ("SigIgn:", "SigBlk:")
    status = subprocess.run(["cat", "/proc/self/status"], check=True, capture_output=True, text=True).stdout
    return " ".join(line.split()[1] for line in status.splitlines() if line.startswith(words)).encode()


def _spin(seconds: float, *, handle: bool) -> bytes:
    until = time.monotonic() + seconds
    try:
        # Not "while time.monotonic() < until": Python 3.13 lets what comes as such a loop turns past the
        # handlers around it (python/cpython#130279).
        while True:
            if time.monotonic() >= until:
                break
    except SoftTimeLimitExceeded:
        if handle:
            return b"soft"
        raise
    return b"spun"


def _spin_until(path: str) -> bytes:
    while not os.path.exists(path):
        time.sleep(0.001)
    with open(path, "rb") as file:
        return file.read()


def _leave_a_process(path: str) -> bytes:
    pid = os.fork()
    if pid == 0:
        while not os.path.exists(path):
            time.sleep(0.01)
        os._exit(0)
    return str(pid).encode()


def load_thread() -> tuple[object, bytes]:
    threading.Thread(target=threading.Event().wait, name="metrics-pusher", daemon=True).start()
    return target, b""


def load_slow_thread() -> tuple[object, bytes]:
    time.sleep(0.3)
    return load_thread()


def load_late_thread() -> tuple[object, bytes]:
    os.register_at_fork(after_in_parent=load_thread)
    return target, b""


def load_program() -> tuple[object, bytes]:
    found = _signals_of_a_program()
    return (lambda payload: found if payload == b"at-load" else target(payload)), found


def load_only_once() -> tuple[object, bytes]:
    if setproctitle.getproctitle().startswith("taskd: child"):
        raise ImportError("no licence left")
    return load_thread()


def load_few_forks() -> tuple[object, bytes]:
    """Refuse the third fork and those after it until the file in the hello is there."""
    path, forks, fork = f"{tempfile.mkdtemp()}/room", itertools.count(1), os.fork

    def limited() -> int:
        if next(forks) > 2 and not os.path.exists(path):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    os.fork = limited
    return target, path.encode()


def load_rehearsed() -> tuple[object, bytes]:
    """Say in which kind of process the child's memory was rehearsed."""
    return (lambda payload: b" ".join(_rehearsed) if payload == b"rehearsed" else target(payload)), b""


def rehearse() -> None:
    _rehearsed.append(setproctitle.getproctitle().split()[1].encode())


def load_broken() -> tuple[object, bytes]:
    raise ImportError("no module named shop")


def load_exits() -> tuple[object, bytes]:
    raise SystemExit(4)


def load_dies() -> tuple[object, bytes]:
    os._exit(9)


LOADS = {
    "plain": lambda: (target, b"hello"),
    "big-hello": lambda: (target, b"h" * 1_000_000),
    "thread": load_thread,
    "slow-thread": load_slow_thread,
    "late-thread": load_late_thread,
    "program": load_program,
    "only-once": load_only_once,
    "few-forks": load_few_forks,
    "rehearsed": load_rehearsed,
    "broken": load_broken,
    "exits": load_exits,
    "dies": load_dies,
    "subprocess": lambda: (subprocess.run(["true"], check=True) and target, b""),
    "noop": lambda: (lambda _payload: b"", b""),
}

if __name__ == "__main__":
    load = LOADS[sys.argv[1] if len(sys.argv) > 1 else "plain"]
    serve(inherited_control(), load, rehearse=rehearse)  # type: ignore[arg-type]
