"""Durable files as a release leaves them: ``python -m tests.released VERSION`` writes them.

Run it once for each release, with the code of that release, and commit what it writes.  A later taskd must
open every one of them (``tests/component/test_released_stores.py``).
"""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from taskd.beat.entries import Pause
from taskd.beat.stores.base import Decision, Mark, RunOutcome
from taskd.beat.stores.sqlite import SqliteStore
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.brokers.timing import Timing
from taskd.config.schedule import BeatEntryConfig
from taskd.config.stores import SqliteConfig
from taskd.protocol.delivery import Dead, Outgoing
from taskd.results.base import StoredResult
from taskd.results.sqlite import SqliteResults
from taskd.revocations.known import By
from taskd.revocations.sqlite import RevocationFile
from taskd.supervisor.deaths.certificate import Certificate

STORES = Path(__file__).parent / "data" / "stores"
NOW_AT = 1_700_000_000.0
#: What every broker file holds, by where its messages stand.
READY = ("urgent", "first", "second")
DELAYED = ("later",)
CLAIMED = ("claimed",)
DEAD = ("dead",)
RESULTS = {"done": b'{"result":42}', "failed": b'{"result":"no"}'}
REVOKED = {By.ID: "an-id", By.NAME: "shop.send", By.STAMP: "customer=7"}
PROGRAMS = ("mail-1", "beat")

CONFIG = SqliteConfig()


def timing() -> Timing:
    """Return clocks that stand still, of a boot that is over."""
    return Timing(now=lambda: NOW_AT, monotonic=lambda: 1000.0, boot=lambda: "a boot that is over")


def task(task_id: str, *, priority: int = 0, due_at: float | None = None) -> Outgoing:
    """Return a message with a body that needs pages of its own."""
    headers = json.dumps({"task": "shop.send", "id": task_id}).encode()
    body = json.dumps([[task_id, "x" * 5000], {}, {}]).encode()
    return Outgoing(
        routing_key="mail", headers=headers, body=body, task_id=task_id, priority=priority, due_at=due_at
    )


def write_broker(path: Path) -> None:
    """Leave messages in every place that there is, and a worker that did not say goodbye."""
    broker = SqliteBroker(f"sqlite://{path}", CONFIG, timing())
    broker.bind("mail", "orders", "topic", "order.#")
    publisher = broker.publisher()
    intake = broker.intake("w1", ["mail"])
    publisher.publish([task("dead")])
    (delivery,) = intake.claim(1)
    intake.settle([Dead(delivery.tag, "killed its process", b'{"signal": 9}', died=True)])
    publisher.publish([task("claimed")])
    assert len(intake.claim(1)) == 1
    publisher.publish([task("first"), task("later", due_at=NOW_AT + 3600.0)])
    broker.once().publish_once([task("second"), task("urgent", priority=9)], until=2000.0)


def write_results(path: Path) -> None:
    """Leave results that expire and such that stay."""
    results = SqliteResults(f"sqlite://{path}", CONFIG)
    results.store([StoredResult("done", "SUCCESS", RESULTS["done"], None)])
    results.store([StoredResult("failed", "FAILURE", RESULTS["failed"], NOW_AT + 1e9)])
    results.close()


def write_revoked(path: Path) -> None:
    """Leave a revocation of each kind."""
    state = RevocationFile(str(path), CONFIG)
    for kind, what in REVOKED.items():
        state.add(kind, (what,))
    state.close()


def write_beat(path: Path) -> None:
    """Leave an entry, a pause, a request, a mark and a decision."""
    store = SqliteStore(f"sqlite://{path}", CONFIG, 10, timing(), listens=False)
    store.put(BeatEntryConfig(name="hourly", task="shop.send", every=3600.0), "ada")
    store.pause("hourly", "ada", NOW_AT)
    store.request("hourly", "ada", NOW_AT)
    term = store.lead(10.0, succeed=True).term
    decision = Decision("hourly", 1, NOW_AT, NOW_AT, RunOutcome.SENT, task_id="an-id")
    store.record(term, [Mark("hourly", "every 1h", NOW_AT, "an-id", fired=1, decisions=1)], [decision])
    store.close()


def write_deaths(path: Path) -> None:
    """Leave two certificates."""
    path.write_bytes(
        msgspec.json.encode([Certificate(program=name, at=NOW_AT, signal=9) for name in PROGRAMS])
    )


WRITERS = {
    "broker.db": write_broker,
    "results.db": write_results,
    "broker.db.revoked": write_revoked,
    "beat.db": write_beat,
    "deaths.json": write_deaths,
}
#: What ``SqliteStore.changes`` tells of the pause.
PAUSE = Pause(NOW_AT, None, "ada")


def write(path: Path) -> None:
    """Write the file of this name, in a child whose end is sudden: nobody takes back what it has claimed."""
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        return
    status = 1
    try:
        WRITERS[path.name](path)
        status = 0
    finally:
        os._exit(status)


def unpacked(release: str, directory: Path) -> Path:
    """Unpack the files of a release into a directory, and return it."""
    for packed in sorted((STORES / release).iterdir()):
        (directory / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    return directory


def releases() -> list[str]:
    """Return the releases whose files are kept."""
    return sorted(each.name for each in STORES.iterdir())


def _whole(path: Path) -> bytes:
    """Return a file without its log, as the last one to close it leaves it."""
    if path.suffix != ".json":
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
    return path.read_bytes()


def _main(release: str) -> None:
    target = STORES / release
    target.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as directory:
        for name in WRITERS:
            write(Path(directory) / name)
            packed = gzip.compress(_whole(Path(directory) / name), mtime=0)
            (target / f"{name}.gz").write_bytes(packed)


if __name__ == "__main__":
    _main(sys.argv[1])
