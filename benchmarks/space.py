"""How long anybody stalls while a drained backlog gives its space back: ``python -m benchmarks.space``.

A worker's intake keeps house as it does each third of a lease, only without the time in between, while
another process publishes and drains small messages.  The longest wait of both is printed, and beside it the
longest of the neighbour's waits before anything is given back, which is what checkpoints and the disk cost.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.brokers.sqlite.store import BrokerFile
from taskd.brokers.timing import Timing
from taskd.config.stores import SqliteConfig
from taskd.protocol.delivery import Ack, Outgoing
from taskd.storage.sqlite.space import WINDOW_S, pages_of, reserve


def _message(queue: str, size_bytes: int) -> Outgoing:
    return Outgoing(routing_key=queue, headers=b"{}", body=os.urandom(size_bytes))


def _neighbour(url: str, told: Connection) -> None:
    """Publish, claim and settle without a pause; send the longest of these whenever asked."""
    broker = SqliteBroker(url, SqliteConfig())
    intake, publisher = broker.intake("neighbour", ["small"]), broker.publisher()
    longest_s = 0.0
    while True:
        start = time.perf_counter()
        publisher.publish([_message("small", 100)])
        intake.settle([Ack(each.tag) for each in intake.claim(10)])
        longest_s = max(longest_s, time.perf_counter() - start)
        time.sleep(0.001)
        if told.poll():
            if told.recv() == "end":
                return
            told.send(longest_s)
            longest_s = 0.0


def _run(directory: str, count: int, size_bytes: int, left: int) -> None:
    url = f"sqlite://{directory}/broker.db"
    path = Path(directory) / "broker.db"
    ahead_s = 0.0
    timing = Timing(monotonic=lambda: time.monotonic() + ahead_s)
    broker = SqliteBroker(url, SqliteConfig(), timing)
    intake, publisher = broker.intake("w", ["mail"], lease_s=1e9), broker.publisher()
    for _ in range(count // 100):
        publisher.publish([_message("mail", size_bytes) for _ in range(100)])
    for _ in range((count - left) // 100):
        intake.settle([Ack(each.tag) for each in intake.claim(100)])
    intake.renew()
    ours, theirs = get_context("spawn").Pipe()
    other = get_context("spawn").Process(target=_neighbour, args=(url, theirs))
    other.start()
    ours.send("how long?")  # the first answer is that of its start
    ours.recv()
    time.sleep(3.0)
    ours.send("how long?")
    quiet_s = ours.recv()
    before_bytes, start = path.stat().st_size, time.perf_counter()
    waits_s: list[float] = []
    works_s: list[float] = []
    ahead_s += WINDOW_S
    store = BrokerFile(str(path), SqliteConfig(), timing)
    more = True
    while more:
        turn, busy = time.perf_counter(), time.thread_time()
        intake.renew()
        waits_s.append(time.perf_counter() - turn)
        works_s.append(time.thread_time() - busy)
        with store.database.read() as connection:
            pages = pages_of(connection)
        more = pages.free > reserve(pages.used)
        time.sleep(0.01)
    ours.send("how long?")
    print(f"file            {before_bytes / 1e6:8.1f} MB -> {path.stat().st_size / 1e6:.1f} MB")
    print(f"turns           {len(waits_s):8d}    in {time.perf_counter() - start:.1f} s")
    waits_s.sort()
    print(f"longest turn    {waits_s[-1] * 1000:8.1f} ms; median {waits_s[len(waits_s) // 2] * 1000:.1f} ms")
    print(f"of processor    {max(works_s) * 1000:8.1f} ms at most: all else is the disk, and others' turns")
    print(f"longest wait    {ours.recv() * 1000:8.1f} ms of a neighbour; {quiet_s * 1000:.1f} ms before")
    ours.send("end")
    other.join()
    store.close()
    broker.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="messages of the backlog")
    parser.add_argument("--bytes", type=int, default=20_000, help="size of each")
    parser.add_argument("--left", type=int, default=0, help="how many of them are not drained")
    parser.add_argument("--directory", help="where the file is made; by default in the directory for such")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        _run(directory, given.count, given.bytes, given.left)


if __name__ == "__main__":
    main()
