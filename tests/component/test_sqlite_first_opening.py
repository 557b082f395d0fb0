"""Processes that open a new file at the same moment, as all programs of a daemon do at its first start."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskd.base.errors import StorageError
from taskd.base.lifecycle import Deadline
from taskd.config.stores import SqliteConfig
from taskd.results.sqlite import SqliteResults
from taskd.storage.sqlite.database import Database
from taskd.storage.sqlite.schema import Schema, SqlStep

OPENER = """
import sys
from taskd.storage.sqlite.database import Database
from taskd.storage.sqlite.schema import Schema, SqlStep
schema = Schema("x", (SqlStep(1, 1, ()),))
opened = []
for line in sys.stdin:
    opened.append(Database(line.strip(), schema, durability="normal", busy_timeout_s=10.0))
    print("opened", flush=True)
"""

HOLDER = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""
SCHEMA = Schema("x", (SqlStep(1, 1, ()),))


#: Where the header of a file says that it can shrink (https://www.sqlite.org/fileformat2.html, 1.3).
INCREMENTAL_VACUUM = slice(64, 68)


@pytest.fixture
def openers() -> Iterator[list[subprocess.Popen[str]]]:
    """Give three processes that open whatever path they are told, and keep it open."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    yield started
    for opener in started:
        opener.communicate(timeout=60)


def open_at_once(openers: list[subprocess.Popen[str]], path: Path) -> None:
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write(f"{path}\n")
        opener.stdin.flush()
    for opener in openers:
        assert opener.stdout is not None
        assert opener.stdout.readline() == "opened\n"


def lockers(path: Path) -> set[int]:
    """Return the processes that hold a lock on this file, by which SQLite knows that it is in use."""
    inode = f":{path.stat().st_ino}"
    rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return {int(row[4]) for row in rows if row[1] == "POSIX" and row[5].endswith(inode)}


def test_each_of_several_first_openers_keeps_the_file_from_being_closed_by_the_others(
    openers: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    # One without its lock writes on into a log that the next to leave has deleted.
    for round_ in range(40):
        path = tmp_path / f"{round_}.db"

        open_at_once(openers, path)

        assert lockers(path) == {opener.pid for opener in openers}
        assert path.read_bytes()[INCREMENTAL_VACUUM] == b"\0\0\0\1"


def test_a_lock_on_the_directory_is_nobodys_business(tmp_path: Path) -> None:
    # As of ``flock /srv/app ./deploy.sh``.
    directory = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    try:
        Database(str(tmp_path / "b.db"), SCHEMA, durability="normal", busy_timeout_s=10.0).close()
    finally:
        os.close(directory)


def test_who_opens_first_gives_up_in_time_and_names_who_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    try:
        with pytest.raises(StorageError, match=rf"locked.* 0\.2 s: pid {holder.pid} \(python.*\) holds it"):
            Database(str(path), SCHEMA, durability="normal", busy_timeout_s=0.2)
        results = SqliteResults(f"sqlite://{path}", SqliteConfig(busy_timeout=600.0))
        with pytest.raises(StorageError, match="locked by another process for more than 1 s"):
            results.wait(["a"], Deadline.after(0.3))
    finally:
        holder.communicate("end")
    Database(str(path), SCHEMA, durability="normal", busy_timeout_s=10.0).close()
