"""Files that cannot be used: full, corrupt, locked, unwritable, foreign, gone; wake directories too."""

from __future__ import annotations

import errno
import os
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskd.base.errors import StorageCorruptError, StorageError, StorageFullError
from taskd.base.lifecycle import Deadline
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.brokers.sqlite.schema import SCHEMA
from taskd.config.stores import SqliteConfig
from taskd.protocol.delivery import Ack
from taskd.results.base import StoredResult
from taskd.results.sqlite import SqliteResults
from taskd.storage.sqlite.database import Database
from taskd.storage.sqlite.schema import Schema
from tests.contract.brokers import bodies, is_readable, message


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.db"


@contextmanager
def opened(path: Path, config: SqliteConfig | None = None) -> Iterator[SqliteBroker]:
    broker = SqliteBroker(f"sqlite://{path}", config or SqliteConfig())
    try:
        yield broker
    finally:
        broker.close()


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere: step down for a while, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


# -- no space ----------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    mounted = tmp_path / "tiny"
    mounted.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a tiny file system needs root")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mounted)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {made.stderr.decode().strip()}")
    yield mounted
    subprocess.run(["umount", "-l", str(mounted)], check=True)


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 - the loop must end by it


def test_a_full_disk_refuses_publications_and_loses_none_that_were_confirmed(tiny_disk: Path) -> None:
    ballast = tiny_disk / "ballast"
    with opened(tiny_disk / "broker.db") as broker:
        publisher = broker.publisher()
        publisher.publish([message("0")])
        ballast.write_bytes(b"\0" * 1024 * 1024)
        confirmed = 1
        try:
            while True:
                publisher.publish([message(str(confirmed)), message("x" * 20_000, "ballast")])
                confirmed += 1
        except StorageFullError as error:
            assert "broker.db: no space left" in str(error)  # noqa: PT017 - the loop must end by it
        assert confirmed > 5

        ballast.unlink()
        publisher.publish([message(str(confirmed))])

        claimed = broker.intake("w", ["mail"]).claim(10_000)
        assert bodies(claimed) == [str(number) for number in range(confirmed + 1)]


def test_a_settlement_on_a_full_disk_can_be_made_again(tiny_disk: Path) -> None:
    ballast = tiny_disk / "ballast"
    with opened(tiny_disk / "broker.db") as broker:
        broker.publisher().publish([message(str(number)) for number in range(2000)])
        intake = broker.intake("w", ["mail"])
        claimed = intake.claim(2000)
        acks = [Ack(delivery.tag) for delivery in claimed]
        fill(ballast)

        with pytest.raises(StorageFullError):
            intake.settle(acks)
        ballast.unlink()

        assert broker.desk().queues()[0].claimed == 2000
        assert list(intake.settle(acks)) == []
        assert broker.desk().queues()[0].claimed == 0


def test_a_transaction_that_finds_no_space_is_rolled_back(path: Path) -> None:
    database = Database(str(path), SCHEMA, durability="normal", busy_timeout_s=1.0)
    pages = database.connection.execute("PRAGMA page_count").fetchone()[0]
    database.connection.execute(f"PRAGMA max_page_count={pages}")

    def write_too_much() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO queue(name) VALUES('first')")
            connection.execute("INSERT INTO queue(name) VALUES(?)", ("x" * 100_000,))

    with pytest.raises(StorageFullError):
        write_too_much()

    with database.write() as connection:
        assert connection.execute("SELECT count(*) FROM queue").fetchone()[0] == 0
    database.close()


def test_any_other_error_rolls_back_too(path: Path) -> None:
    database = Database(str(path), SCHEMA, durability="full", busy_timeout_s=1.0)

    def write_until_interrupted() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO queue(name) VALUES('first')")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_until_interrupted()

    assert not database.connection.in_transaction
    with database.read() as connection:
        assert connection.execute("SELECT count(*) FROM queue").fetchone()[0] == 0
    database.close()


# -- files that are not what they should be ------------------------------------------------------


def test_a_file_that_is_no_database_is_named(path: Path) -> None:
    path.write_bytes(b"this is a text file, and a long one at that. " * 100)

    with (
        opened(path) as broker,
        pytest.raises(StorageCorruptError, match=r"broker\.db is not a sound.*recover"),
    ):
        broker.intake("w", ["mail"])


def test_a_file_with_broken_pages_is_reported_when_they_are_read(path: Path) -> None:
    with opened(path) as broker:
        broker.publisher().publish([message("x" * 500) for _ in range(500)])
    content = bytearray(path.read_bytes())
    content[8 * 4096 :] = b"\xa5" * (len(content) - 8 * 4096)
    path.write_bytes(content)

    with opened(path) as broker, pytest.raises(StorageCorruptError, match="move it away"):
        broker.intake("w", ["mail"]).claim(500)


def test_a_log_that_is_garbage_is_said_and_one_that_is_torn_is_not(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = path.with_name("left.db")
    log = Path(f"{left}-wal")
    with opened(path) as broker:
        broker.publisher().publish([message("x" * 500) for _ in range(50)])
        for end in ("", "-wal"):  # as a crash leaves them
            Path(f"{left}{end}").write_bytes(Path(f"{path}{end}").read_bytes())
    whole = log.read_bytes()

    log.write_bytes(whole[:-2000])
    Database(str(left), SCHEMA, durability="normal", busy_timeout_s=1.0).close()
    assert caplog.messages == []

    log.write_bytes(b"\xa5" * len(whole))
    Database(str(left), SCHEMA, durability="normal", busy_timeout_s=1.0).close()
    assert (
        f"left.db-wal is not a log of SQLite: the transactions that were in its {len(whole)}" in caplog.text
    )


def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    with opened(path) as broker:
        broker.publisher().publish([message()])
    raw = sqlite3.connect(path)
    raw.execute("UPDATE taskd_schema SET version=99")
    raw.commit()
    raw.close()

    with (
        opened(path) as broker,
        pytest.raises(StorageError, match=r"newer taskd \(broker format 99.*upgrade"),
    ):
        broker.publisher().publish([message()])


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE customers(name)")
    raw.close()

    with opened(path) as broker, pytest.raises(StorageError, match=r"another program.*customers"):
        broker.publisher().publish([message()])


def test_broker_and_results_may_share_a_file(path: Path) -> None:
    results = SqliteResults(f"sqlite://{path}", SqliteConfig())
    with opened(path) as broker:
        broker.publisher().publish([message()])
        results.store([StoredResult("a", "SUCCESS", b"{}", None)])

        assert bodies(broker.intake("w", ["mail"]).claim(1)) == ["x"]
    assert set(results.get(["a"])) == {"a"}
    results.close()


# -- files that cannot be reached ------------------------------------------------------------------


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "no" / "b.db") as broker,
        pytest.raises(StorageError, match="no does not exist; create"),
    ):
        broker.publisher().publish([message()])


def test_a_directory_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)

    with (
        opened(locked / "b.db") as broker,
        as_nobody(),
        pytest.raises(StorageError, match=r"may not write|not exist"),
    ):
        broker.publisher().publish([message()])


def test_a_directory_in_place_of_the_file_is_named(path: Path) -> None:
    path.mkdir()

    with opened(path) as broker, pytest.raises(StorageError, match="it is a directory"):
        broker.publisher().publish([message()])


def test_a_file_locked_for_too_long_is_reported_and_used_again_afterwards(path: Path) -> None:
    with opened(path, SqliteConfig(busy_timeout=0.1)) as broker:
        publisher = broker.publisher()
        publisher.publish([message("before")])
        intake = broker.intake("w", ["mail"])
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")

        with pytest.raises(
            StorageError, match=r"locked by another process for more than 0\.1 s.*raise sqlite.busy_timeout"
        ):
            publisher.publish([message("refused")])
        with pytest.raises(StorageError, match="locked"):
            intake.claim(1)
        assert intake.depth() == 1  # reading goes on
        holder.execute("ROLLBACK")
        holder.close()
        publisher.publish([message("after")])

        assert bodies(intake.claim(10)) == ["before", "after"]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_deleted_while_in_use_is_noticed(path: Path, replaced: bool) -> None:
    with opened(path) as broker:
        intake = broker.intake("w", ["mail"])
        intake.renew()
        path.rename(path.with_suffix(".away"))
        if replaced:
            path.touch()

        with pytest.raises(StorageError, match="was deleted or replaced while in use"):
            intake.renew()
        path.unlink(missing_ok=True)


def test_collecting_goes_on_in_the_file_that_took_the_place_of_the_other(path: Path) -> None:
    results = SqliteResults(f"sqlite://{path}", SqliteConfig())
    results.store([StoredResult("other", "SUCCESS", b"{}", None)])
    collector = results.collect(["a"])
    assert collector.next(Deadline.after(0.0)) == {}

    path.rename(path.with_suffix(".away"))
    worker = SqliteResults(f"sqlite://{path}", SqliteConfig())
    worker.store([StoredResult("a", "SUCCESS", b"{}", None)])

    assert collector.next(Deadline.after(20.0)) == {"a": b"{}"}
    collector.close()
    worker.close()
    results.close()


# -- the wake directory ----------------------------------------------------------------------------


def test_garbage_in_the_wake_directory_disturbs_nothing(path: Path) -> None:
    with opened(path) as broker:
        intake = broker.intake("w", ["mail"])
        wake = Path(f"{path}.wake")
        for name in (
            "README",
            "1-abc.all",
            "2-abc.1-x",
            "3-abc.1",
            ".",
            "4-abc.",
            "5-abc.99999999999999999999",
        ):
            if name != ".":
                (wake / name).write_text("not a socket")
        (wake / "6-abc.all").mkdir()
        (wake / "7-abc.all").symlink_to("nowhere")
        (wake / os.fsdecode(b"8-\xff\xfe.all")).write_text("not UTF-8")
        stale = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        os.chdir(wake)
        stale.bind("9-abc.all")
        os.chdir("/")
        stale.close()
        intake.clear_wakeups()

        broker.publisher().publish([message()])

        assert is_readable(intake)
        assert not (wake / "9-abc.all").exists()
        assert (wake / "1-abc.all").read_text() == "not a socket"
        assert len(list(wake.iterdir())) == 9 + 1


def test_dead_listeners_of_other_topics_are_swept(path: Path) -> None:
    with opened(path) as broker:
        intake = broker.intake("w", ["mail"])
        wake = Path(f"{path}.wake")
        here = os.open(wake, os.O_RDONLY)
        for number in range(50):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
                stale.bind(f"/proc/self/fd/{here}/{number}-abc.{900_000 + number}")
        os.close(here)

        broker.publisher().publish([message()])

        assert is_readable(intake)
        assert len(list(wake.iterdir())) == 1


def test_a_file_reached_by_a_link_wakes_whoever_reached_it_without(path: Path) -> None:
    with opened(path) as broker:
        intake = broker.intake("w", ["mail"])
        link = path.with_name("link.db")
        link.symlink_to(path.name)

        with opened(link) as other:
            other.publisher().publish([message()])

        assert is_readable(intake)
        assert not Path(f"{link}.wake").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can plant links of others")
def test_links_that_another_user_planted_lead_nowhere(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    path.symlink_to(target)
    os.lchown(path, 65534, 65534)

    with opened(path) as broker, pytest.raises(StorageError, match=r"link of user 65534 .*chown -h 0"):
        broker.publisher().publish([message()])

    assert not target.exists()


def test_a_wake_directory_that_is_a_link_is_named(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Path(f"{path}.wake").symlink_to(elsewhere)

    with opened(path) as broker, pytest.raises(StorageError, match=r"broker\.db\.wake: cannot listen"):
        broker.intake("w", ["mail"])

    assert list(elsewhere.iterdir()) == []


def test_a_deleted_wake_directory_costs_wake_ups_and_no_message(path: Path) -> None:
    with opened(path) as broker:
        intake = broker.intake("w", ["mail"])
        for entry in Path(f"{path}.wake").iterdir():
            entry.unlink()
        Path(f"{path}.wake").rmdir()
        publisher = broker.publisher()

        publisher.publish([message("one")])
        intake.add_queue("other")
        assert bodies(intake.claim(10)) == ["one"]
        later = broker.intake("later", ["mail"])
        later.clear_wakeups()
        publisher.publish([message("two")])

        assert is_readable(later)


def test_a_file_in_place_of_the_wake_directory_is_named(path: Path) -> None:
    Path(f"{path}.wake").write_text("")

    with opened(path) as broker, pytest.raises(StorageError, match=r"broker\.db\.wake: cannot listen"):
        broker.intake("w", ["mail"])


def test_a_path_longer_than_a_socket_address_wakes_as_well(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with opened(deep / "broker.db") as broker:
        intake = broker.intake("w", ["mail"])
        intake.clear_wakeups()

        broker.publisher().publish([message()])

        assert is_readable(intake)
        intake.close()
        assert list(Path(f"{deep}/broker.db.wake").iterdir()) == []


def test_a_worker_of_very_many_queues_is_woken_for_each(path: Path) -> None:
    queues = [f"queue-{number}" for number in range(200)]
    with opened(path) as broker:
        intake = broker.intake("w", queues)
        intake.clear_wakeups()

        broker.publisher().publish([message("x", "queue-199"), message("y", "queue-3")])

        assert is_readable(intake)
        assert bodies(intake.claim(10)) == ["x", "y"]


def test_a_mailbox_deleted_by_somebody_else_is_made_again(path: Path) -> None:
    with opened(path) as broker:
        box = broker.mailbox("box", "everyone", "fanout")
        raw = sqlite3.connect(path)
        raw.execute("DELETE FROM queue")
        raw.execute("DELETE FROM binding")
        raw.commit()
        raw.close()

        assert list(box.receive()) == []
        broker.publisher().publish([message("hello", "", exchange="everyone")])

        assert is_readable(box)
        assert bodies(box.receive()) == ["hello"]


def test_a_broker_file_of_the_first_version_gets_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    first = Schema(SCHEMA.room, SCHEMA.steps[:1])
    database = Database(str(path), first, durability="normal", busy_timeout_s=1.0)
    with database.write() as connection:
        connection.execute("UPDATE sequence SET next=17")
    database.close()

    upgraded = Database(str(path), SCHEMA, durability="normal", busy_timeout_s=1.0)

    with upgraded.read() as connection:
        assert connection.execute("SELECT count(*) FROM once").fetchone() == (0,)
        assert connection.execute("SELECT next FROM sequence").fetchall() == [(17,)]
    upgraded.close()
