"""Files of SQLite that are brought up: by steps that are invented here, under processes that live on."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from taskd.base.errors import NewerFormatError, StorageError, StorageFullError
from taskd.brokers.sqlite import store as broker_store
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.brokers.sqlite.schema import SCHEMA
from taskd.config.stores import SqliteConfig
from taskd.protocol.delivery import Ack
from taskd.storage.sqlite.database import Connection, Database
from taskd.storage.sqlite.schema import Schema, SqlStep
from tests.contract.brokers import bodies, message

FIRST = SqlStep(1, 1, ("CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL)",))
OLD = Schema("x", (FIRST,))


def longer_names(connection: Connection) -> None:
    """Change each row in a way that is not said in SQL."""
    rows = connection.execute("SELECT id, name FROM item").fetchall()
    connection.executemany(
        "UPDATE item SET name=? WHERE id=?", [(f"{name}{name[::-1]}", number) for number, name in rows]
    )


ADDITIVE = SqlStep(
    2,
    1,
    (
        "ALTER TABLE item ADD COLUMN weight INTEGER NOT NULL DEFAULT 1",
        "CREATE INDEX item_weight ON item(weight)",
    ),
)
DATA = SqlStep(3, 1, (longer_names,))
#: The table is made anew under another name, as a breaking step has to.
BREAKING = SqlStep(
    4,
    4,
    (
        "CREATE TABLE thing(id INTEGER PRIMARY KEY, label TEXT NOT NULL, weight INTEGER NOT NULL)",
        "INSERT INTO thing(id, label, weight) SELECT id, name, weight FROM item",
        "DROP TABLE item",
    ),
)
NEW = Schema("x", (FIRST, ADDITIVE, DATA, BREAKING))
ROWS = [(1, "abc"), (2, "xyz")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


def opened(path: Path, schema: Schema) -> Database:
    return Database(str(path), schema, durability="normal", busy_timeout_s=10.0)


def insert(database: Database, number: int, name: str) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO item(id, name) VALUES(?,?)", (number, name))


def make_old(path: Path) -> None:
    database = opened(path, OLD)
    for row in ROWS:
        insert(database, *row)
    database.close()


def tables(path: Path) -> dict[str, str]:
    """Return the text of each table and index, as SQLite keeps it."""
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        return {name: " ".join(sql.split()) for name, sql in rows}
    finally:
        connection.close()


def select(path: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def marks(path: Path) -> dict[str, int]:
    """Return what the file says of its rooms."""
    connection = sqlite3.connect(path)
    try:
        return dict(connection.execute("SELECT room, version FROM taskd_schema").fetchall())
    finally:
        connection.close()


def test_an_old_file_that_is_brought_up_is_as_a_new_one_with_its_rows(path: Path, tmp_path: Path) -> None:
    make_old(path)
    opened(tmp_path / "new.db", NEW).close()

    opened(path, NEW).close()

    assert tables(path) == tables(tmp_path / "new.db")
    assert select(path, "SELECT id, label, weight FROM thing") == [(1, "abccba", 1), (2, "xyzzyx", 1)]
    assert marks(path) == marks(tmp_path / "new.db") == {"x": 4}


def test_a_process_of_the_former_release_goes_on_beside_an_additive_step(path: Path) -> None:
    former = opened(path, OLD)
    insert(former, 1, "before")

    newer = opened(path, Schema("x", (FIRST, ADDITIVE)))
    insert(former, 2, "beside")
    former.check_usable()
    one_more = opened(path, OLD)  # the former release starts another process
    insert(one_more, 3, "after")

    with newer.read() as connection:
        found = connection.execute("SELECT name, weight FROM item ORDER BY id").fetchall()
    assert found == [("before", 1), ("beside", 1), ("after", 1)]
    assert marks(path) == {"x": 1, "x.format": 2}
    for database in (former, newer, one_more):
        database.close()


def test_a_process_of_the_former_release_is_told_of_a_breaking_step_and_writes_nothing(path: Path) -> None:
    former = opened(path, OLD)
    insert(former, 1, "before")
    newer = opened(path, NEW)

    with pytest.raises(NewerFormatError, match=r"x\.db was written by a newer taskd .*upgrade taskd"):
        insert(former, 2, "beside")
    with pytest.raises(NewerFormatError, match="newer taskd"):
        former.check_usable()
    with pytest.raises(NewerFormatError, match="newer taskd"):
        opened(path, OLD)

    assert select(path, "SELECT id FROM thing") == [(1,)]
    former.close()
    newer.close()


def test_an_error_about_a_table_that_no_step_has_taken_away_stays_what_it_is(path: Path) -> None:
    database = opened(path, OLD)

    with pytest.raises(StorageError, match="no such table: nowhere"), database.read() as connection:
        connection.execute("SELECT 1 FROM nowhere")

    database.close()


def test_rooms_of_one_file_have_formats_of_their_own(path: Path) -> None:
    other = Schema("y", (SqlStep(1, 1, ("CREATE TABLE other(id)",)), SqlStep(2, 1, ())))
    opened(path, other).close()
    opened(path, NEW).close()

    opened(path, other).close()

    assert marks(path) == {"x": 4, "y": 1, "y.format": 2}


def test_a_step_that_fails_leaves_the_file_as_it_was_and_can_be_made_again(path: Path) -> None:
    make_old(path)
    before = tables(path)
    wrong = SqlStep(2, 1, (*ADDITIVE.changes, "INSERT INTO nowhere SELECT 1"))

    with pytest.raises(StorageError, match="no such table: nowhere"):
        opened(path, Schema("x", (FIRST, wrong)))

    assert tables(path) == before
    opened(path, NEW).close()
    assert len(select(path, "SELECT id FROM thing")) == 2


def test_a_step_that_finds_no_space_leaves_the_file_as_it_was(path: Path) -> None:
    make_old(path)
    before = tables(path)

    def grow(connection: Connection) -> None:
        connection.execute(f"PRAGMA max_page_count={connection.execute('PRAGMA page_count').fetchone()[0]}")
        connection.execute("INSERT INTO item(id, name) VALUES(3, ?)", ("x" * 1_000_000,))

    with pytest.raises(StorageFullError, match="nothing was lost"):
        opened(path, Schema("x", (FIRST, SqlStep(2, 1, (*ADDITIVE.changes, grow)))))

    assert tables(path) == before
    opened(path, NEW).close()


def opened_in_a_child_that_is_killed(path: Path, at_statement: int) -> int:
    """Open the file in a child that dies before it carries out a statement; return the child's status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    statements = 0

    def count(_statement: str) -> None:
        nonlocal statements
        statements += 1
        if statements == at_statement:
            os.kill(os.getpid(), signal.SIGKILL)

    def traced(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        connection.set_trace_callback(count)
        return connection

    connect = sqlite3.connect
    sqlite3.connect = traced  # type: ignore[assignment]  # has fewer forms
    try:
        opened(path, NEW).close()
    finally:
        os._exit(0)


def test_a_kill_at_any_statement_leaves_the_file_of_before_or_after_a_step(tmp_path: Path) -> None:
    expected = {}
    for steps in range(1, 5):
        of_format = tmp_path / f"format-{steps}.db"
        opened(of_format, Schema("x", NEW.steps[:steps])).close()
        expected[steps] = tables(of_format)
    seen = set()
    statement = 0
    ended = -signal.SIGKILL
    while ended == -signal.SIGKILL:
        statement += 1
        path = tmp_path / f"{statement}.db"
        make_old(path)

        ended = opened_in_a_child_that_is_killed(path, statement)

        rows = marks(path)
        reached = rows.get("x.format", rows["x"])
        assert tables(path) == expected[reached]
        seen.add(reached)
        assert select(path, "PRAGMA integrity_check") == [("ok",)]
        opened(path, NEW).close()
        assert select(path, "SELECT id, label FROM thing") == [(1, "abccba"), (2, "xyzzyx")]
    assert ended == 0
    assert seen == {1, 2, 3, 4}
    assert statement > 20


def test_processes_that_open_an_old_file_at_the_same_time_make_each_step_once(path: Path) -> None:
    make_old(path)
    start, go = os.pipe()
    children = []
    for _ in range(4):
        if child := os.fork():
            children.append(child)
            continue
        status = 1
        try:
            os.close(go)
            os.read(start, 1)  # until the other end is closed
            opened(path, NEW).close()
            status = 0
        finally:
            os._exit(status)
    os.close(go)
    os.close(start)

    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0, 0]
    assert select(path, "SELECT id, label FROM thing") == [(1, "abccba"), (2, "xyzzyx")]


# -- a future of the broker ------------------------------------------------------------------------


def future(monkeypatch: pytest.MonkeyPatch, *steps: SqlStep) -> None:
    """Let brokers that are opened from now on be of a newer taskd."""
    monkeypatch.setattr(broker_store, "SCHEMA", Schema("broker", (*SCHEMA.steps, *steps)))


def test_a_worker_of_this_release_works_on_beside_a_column_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite://{tmp_path}/broker.db"
    ours, theirs = SqliteBroker(url, SqliteConfig()), SqliteBroker(url, SqliteConfig())
    intake = ours.intake("w", ["mail"])
    publisher = ours.publisher()
    publisher.publish([message("before")])
    future(
        monkeypatch,
        SqlStep(SCHEMA.format + 1, 2, ("ALTER TABLE message ADD COLUMN lane INTEGER NOT NULL DEFAULT 0",)),
        SqlStep(SCHEMA.format + 2, 2, ("ALTER TABLE ready ADD COLUMN lane INTEGER NOT NULL DEFAULT 0",)),
    )

    theirs.publisher().publish([message("of the next")])
    publisher.publish([message("of this")])
    claimed = intake.claim(10)
    intake.settle([Ack(each.tag) for each in claimed])
    intake.renew()

    assert bodies(claimed) == ["before", "of the next", "of this"]
    assert theirs.desk().queues()[0].claimed == 0
    ours.close()
    theirs.close()


def test_a_worker_of_this_release_is_told_when_the_next_has_broken_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite://{tmp_path}/broker.db"
    ours, theirs = SqliteBroker(url, SqliteConfig()), SqliteBroker(url, SqliteConfig())
    intake = ours.intake("w", ["mail"])
    publisher = ours.publisher()
    publisher.publish([message("before")])
    following = SCHEMA.format + 1
    future(monkeypatch, SqlStep(following, following, ("ALTER TABLE message RENAME TO envelope",)))
    theirs.desk().queues()

    with pytest.raises(NewerFormatError, match="upgrade taskd"):
        publisher.publish([message("lost")])
    with pytest.raises(NewerFormatError, match="upgrade taskd"):
        intake.claim(1)
    with pytest.raises(NewerFormatError, match="upgrade taskd"):
        intake.renew()

    assert select(tmp_path / "broker.db", "SELECT count(*) FROM envelope") == [(1,)]
    intake.close()
    ours.close()
    theirs.close()
