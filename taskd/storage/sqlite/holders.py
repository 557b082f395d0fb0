"""The holders of SQLite's locks on a file, as far as /proc tells this user."""

from __future__ import annotations

import os
from collections.abc import Iterable

# The bytes that SQLite locks: in the file itself from the pending byte on, in the -shm file the one of the
# writer (https://www.sqlite.org/fileformat2.html, and walformat.html 2.3.1).
_PENDING_BYTE = 0x40000000
_WRITER_BYTE = 120
_MOST_SHOWN = 60


def holders(path: str) -> list[str]:
    """Return the other processes that hold a lock for writing, such as ``pid 812 (sqlite3 b.db)``.

    Empty when nobody does any more, or when it is in a container that this process does not see.
    """
    try:
        with open("/proc/locks") as file:
            rows = file.read().splitlines()
    except OSError:
        return []
    pids = writers(rows, _inode(path), _inode(f"{path}-shm"))
    return [f"pid {pid} ({_command(pid)})" for pid in pids if pid != os.getpid()]


def users(path: str) -> list[int]:
    """Return the other processes that have a file of SQLite open, which each shows by a lock on it."""
    try:
        with open("/proc/locks") as file:
            rows = [row.split() for row in file]
    except OSError:
        return []
    inode = str(_inode(path))
    found = {int(row[4]) for row in rows if len(row) == 8 and row[5].rpartition(":")[2] == inode}
    return sorted(found - {os.getpid()})


def writers(rows: Iterable[str], inode: int, shm_inode: int) -> list[int]:
    """Return the processes that hold a write lock of SQLite, by the rows of /proc/locks."""
    found = []
    for row in rows:
        # 12: POSIX  ADVISORY  WRITE 812 fe:01:4711 120 120; "->" marks one that waits.
        words = row.split()
        if len(words) != 8 or words[1] not in ("POSIX", "OFDLCK") or words[3] != "WRITE":
            continue
        pid = int(words[4])
        locked = int(words[5].rpartition(":")[2])
        first = int(words[6])
        holds_file = locked == inode and first >= _PENDING_BYTE
        holds_log = locked == shm_inode and first == _WRITER_BYTE
        if (holds_file or holds_log) and pid > 0 and pid not in found:
            found.append(pid)
    return found


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return -1


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4096).replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "another user's"
    program, space, arguments = words.partition(" ")
    words = program.rpartition("/")[2] + space + arguments
    text = "".join(char if char.isprintable() else "?" for char in words)
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 3] + "..."
