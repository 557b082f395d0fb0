"""Letters of failed tasks outlive kills, full disks and other releases; none is sent twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taskd.base.errors import StorageFullError
from taskd.brokers.base import Broker
from taskd.brokers.desk import DeadFilter
from taskd.brokers.factory import connect
from taskd.brokers.sqlite import letters
from taskd.brokers.sqlite import store as broker_store
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.brokers.sqlite.schema import SCHEMA
from taskd.config.load import load
from taskd.config.stores import FailuresConfig, SqliteConfig
from taskd.protocol.delivery import Ack, Dead, LetterKind, Outgoing, UnclaimedFailure
from taskd.storage.sqlite.schema import Schema
from tests import services
from tests.contract.brokers import message, send
from tests.waiting import wait_until

FAILED = DeadFilter(kind=LetterKind.FAILED)
TASKCTL = str(Path(sys.executable).with_name("taskctl"))
LETTERS = 1_500


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.db"


@pytest.fixture
def sqlite_broker(path: Path) -> Iterator[SqliteBroker]:
    with closing(SqliteBroker(f"sqlite://{path}", SqliteConfig())) as opened:
        yield opened


def failure(tag: int, kind: LetterKind = LetterKind.FAILED) -> Dead:
    return Dead(tag, "ValueError: no", b'{"traceback": "x"}', kind=kind)


def totals(path: Path) -> tuple[int, int]:
    """Return what the file says of its failed letters, when it is what its rows say."""
    with closing(sqlite3.connect(path)) as connection:
        said = connection.execute("SELECT letters, bytes FROM failed_total").fetchone()
        found = connection.execute("SELECT count(*), ifnull(sum(size), 0) FROM dead WHERE kind='failed'")
        assert said == found.fetchone()
        return int(said[0]), int(said[1])


def test_a_kill_between_the_letter_and_the_end_of_its_claim_leaves_the_claim(
    sqlite_broker: SqliteBroker, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(sqlite_broker, message("it"))
    sqlite_broker.close()
    child = os.fork()
    if child == 0:
        try:
            monkeypatch.setattr(letters, "prune", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            intake = SqliteBroker(f"sqlite://{path}", SqliteConfig()).intake("w", ["mail"])
            (delivery,) = intake.claim(1)
            intake.settle([failure(delivery.tag)])
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL

    again = SqliteBroker(f"sqlite://{path}", SqliteConfig())
    with closing(again):
        assert list(again.desk().dead_ids(DeadFilter(kind=None))) == []
        intake = again.intake("w", ["mail"])
        (delivery,) = intake.claim(2)
        assert (delivery.body, delivery.deliveries) == (b"it", 2)
        assert list(intake.settle([failure(delivery.tag)])) == []
        assert len(again.desk().dead_ids(FAILED)) == 1
    assert totals(path)[0] == 1


def test_a_full_disk_refuses_the_letter_and_the_claim_stays(sqlite_broker: SqliteBroker, path: Path) -> None:
    send(sqlite_broker, message("it"), message("x" * 100_000))
    intake = sqlite_broker.intake("w", ["mail"])
    it, large = intake.claim(2)
    evidence = b'{"traceback": "%s"}' % (b"t" * 300_000)
    dead = Dead(it.tag, "ValueError: no", evidence, kind=LetterKind.FAILED)
    database = intake._store.database
    with database.write() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}").fetchone()

    with pytest.raises(StorageFullError):
        intake.settle([dead])
    with pytest.raises(StorageFullError):
        intake.keep([UnclaimedFailure(it, "ValueError: no", evidence)])

    assert totals(path) == (0, 0)
    assert list(intake.settle([Ack(large.tag)])) == []
    with database.write() as connection:
        connection.execute("PRAGMA max_page_count=1000000").fetchone()
    assert list(intake.settle([dead])) == []
    assert totals(path)[0] == 1


def test_a_turn_that_cannot_delete_tries_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with closing(SqliteBroker(f"sqlite://{path}", SqliteConfig())) as wide:
        fill(wide, 5)
    bounds = FailuresConfig(max=2)
    with closing(SqliteBroker(f"sqlite://{path}", SqliteConfig(), failures=bounds)) as broker:
        intake = broker.intake("w", ["mail"])
        with monkeypatch.context() as patched:
            patched.setattr(letters, "prune", no_room)
            intake.renew()
        assert "beyond their bounds stay for now: the disk is full" in caplog.text
        assert totals(path)[0] == 5

        intake.renew()

        assert totals(path)[0] == 2


def no_room(*_: object) -> int:
    raise StorageFullError("the disk is full")


def former(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files that are opened from now on be those of the release before the letters of failed tasks."""
    monkeypatch.setattr(broker_store, "SCHEMA", Schema("broker", SCHEMA.steps[:2]))


def test_a_file_of_the_former_release_keeps_its_dead_letters_as_such(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        former(patched)
        with closing(SqliteBroker(f"sqlite://{path}", SqliteConfig())) as broker:
            send(broker, message("dead"))
            broker.intake("w", ["mail"]).claim(1)
            broker.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "INSERT INTO dead(id, queue, rank, deaths, died_at, task, reason, evidence)"
            " SELECT id, 'mail', rank, deaths, 1.0, 't', 'unknown', x'' FROM ready"
        )
        connection.execute("DELETE FROM ready")
        connection.commit()

    with closing(SqliteBroker(f"sqlite://{path}", SqliteConfig())) as broker:
        (letter,) = broker.desk().dead_letters()

        assert (letter.reason, letter.kind) == ("unknown", LetterKind.DEAD)
        assert totals(path) == (0, 0)


def test_a_process_of_the_former_release_takes_them_for_dead_letters(
    sqlite_broker: SqliteBroker, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(sqlite_broker, message("1"), message("2"), message("3"))
    intake = sqlite_broker.intake("w", ["mail"])
    intake.settle([failure(each.tag) for each in intake.claim(3)])
    first, second, _ = sqlite_broker.desk().dead_ids(FAILED)

    former(monkeypatch)
    with closing(SqliteBroker(f"sqlite://{path}", SqliteConfig())) as broker:
        send(broker, message("of the former"))
    with closing(sqlite3.connect(path)) as connection:  # the statements of the former release
        assert connection.execute("SELECT count(*) FROM dead WHERE queue='mail'").fetchone() == (3,)
        gone = connection.execute("DELETE FROM dead WHERE id=? RETURNING queue, rank", (first,)).fetchone()
        assert gone == ("mail", 0)
        connection.execute("INSERT INTO ready VALUES(1, 0, ?, 0, 0)", (first,))
        connection.execute("DELETE FROM message WHERE id IN (SELECT id FROM dead WHERE id=?)", (second,))
        assert connection.execute("DELETE FROM dead WHERE id=?", (second,)).rowcount == 1
        connection.commit()

    assert totals(path)[0] == 1
    assert len(sqlite_broker.desk().dead_ids(FAILED)) == 1


@pytest.fixture(params=["redis", "sqlite"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give a configuration whose broker has failed letters."""
    written = tmp_path / "taskd.toml"
    url = services.redis_url() if request.param == "redis" else f"sqlite://{tmp_path}/broker.db"
    written.write_text(f'broker = "{url}"\nresults = "null://"\n[redis]\nkey_prefix = "{tmp_path}:"\n')
    return written


@pytest.fixture
def broker(file: Path) -> Iterator[Broker]:
    config = load(str(file))
    with closing(connect(config.broker, config.stores)) as opened:
        yield opened


def fill(broker: Broker, count: int) -> None:
    headers = json.dumps({"lang": "py", "task": "t", "retries": 3}).encode()
    with closing(broker.publisher()) as publisher:
        publisher.publish(
            [
                Outgoing(routing_key="mail", headers=headers, body=b"%d" % number, task_id=str(number))
                for number in range(count)
            ]
        )
    intake = broker.intake("w", ["mail"])
    while claimed := intake.claim(500):
        intake.settle([failure(each.tag) for each in claimed])
    intake.close()


def test_a_retry_of_many_that_is_killed_again_and_again_loses_and_doubles_none(
    broker: Broker, file: Path
) -> None:
    fill(broker, LETTERS)
    desk = broker.desk()
    assert desk.queues()[0].failed == LETTERS

    def ready() -> int:
        return desk.queues()[0].ready

    command = [TASKCTL, "--config", str(file), "dlq", "requeue", "--state", "failed", "--all"]
    command += ["--rate", "4000/s"]
    before = 0
    while desk.queues()[0].failed:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as requeuing:
            wait_until(lambda at=before: ready() >= at + 200 or requeuing.poll() is not None)  # type: ignore[misc]
            requeuing.kill()
        before = ready()

    intake = broker.intake("w", ["mail"])
    seen: Counter[str] = Counter()
    while claimed := intake.claim(1_000):
        seen.update(each.task_id for each in claimed)
        assert all(json.loads(each.headers)["retries"] == 0 for each in claimed)
        intake.settle([Ack(each.tag) for each in claimed])
    assert seen == Counter(str(number) for number in range(LETTERS))
    intake.close()


def test_two_who_retry_at_once_send_each_letter_once(broker: Broker, file: Path) -> None:
    fill(broker, LETTERS)
    command = [TASKCTL, "--config", str(file), "dlq", "requeue", "--state", "failed", "--all", "--json"]

    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    sent: list[Any] = [json.loads(each.communicate()[0])["requeued"] for each in running]

    assert sum(sent) == LETTERS
    (queue,) = broker.desk().queues()
    assert (queue.ready, queue.failed) == (LETTERS, 0)
