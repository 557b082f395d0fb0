"""The embedded broker and results between real processes: wake-ups, kills, races, forks."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskd.base.lifecycle import Deadline
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.config.stores import SqliteConfig
from taskd.protocol.delivery import Ack
from taskd.results.base import StoredResult
from taskd.results.sqlite import SqliteResults
from tests.component.processes import Script
from tests.contract.brokers import Clock, bodies, is_readable, message


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/broker.db"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def broker(url: str) -> Iterator[SqliteBroker]:
    opened = SqliteBroker(url, SqliteConfig())
    yield opened
    opened.close()


def publish(broker: SqliteBroker, count: int) -> None:
    broker.publisher().publish([message(str(number)) for number in range(count)])


CLAIM_AND_HANG = """
intake = connect_broker(sys.argv[1], Stores()).intake(sys.argv[2], ["mail"])
say(len(intake.claim(1000)))
hear()
"""


def test_a_publication_in_another_process_wakes_the_intake(url: str, broker: SqliteBroker) -> None:
    intake = broker.intake("w", ["mail"])
    publish_one = """
connect_broker(sys.argv[1], Stores()).publisher().publish(
    [Outgoing(routing_key="mail", headers=b"{}", body=b"hello")])
"""
    with Script(publish_one, url):
        assert is_readable(intake, within_s=60.0)
        intake.clear_wakeups()
        assert bodies(intake.claim(1)) == ["hello"]


def test_a_listener_made_right_after_a_wake_up_is_woken_too(broker: SqliteBroker) -> None:
    """Directory times are coarse: a cached listing must not hide it."""
    publish(broker, 1)
    publisher = broker.publisher()
    for number in range(20):
        intake = broker.intake(f"w{number}", ["mail"])
        intake.clear_wakeups()
        publisher.publish([message()])
        assert is_readable(intake)
        intake.close()


def test_a_killed_worker_loses_nothing_to_its_successor(url: str, broker: SqliteBroker) -> None:
    publish(broker, 50)
    with Script(CLAIM_AND_HANG, url, "w") as worker:
        assert worker.hear() == "50"
        worker.kill()

    again = broker.intake("w", ["mail"]).claim(1000)

    assert bodies(again) == [str(number) for number in range(50)]
    assert {delivery.deliveries for delivery in again} == {2}


def test_a_killed_worker_loses_nothing_to_another_when_its_lease_is_over(url: str, clock: Clock) -> None:
    with_time = SqliteBroker(url, SqliteConfig(), clock.timing)
    publish(with_time, 50)
    # The other process writes a real monotonic time and this boot: both brokers must agree on them.
    real = SqliteBroker(url, SqliteConfig())
    with Script(CLAIM_AND_HANG, url, "w") as worker:
        assert worker.hear() == "50"
        other = real.intake("other", ["mail"])
        assert list(other.claim(1000)) == []
        worker.kill()
        later = with_time.intake("later", ["mail"])

        # Another boot id: what was leased before a reboot is free at once.
        assert len(later.claim(1000)) == 50

    with_time.close()
    real.close()


def test_processes_that_claim_at_the_same_time_never_get_the_same_message(
    url: str, broker: SqliteBroker
) -> None:
    publish(broker, 3000)
    drain = """
intake = connect_broker(sys.argv[1], Stores()).intake(sys.argv[2], ["mail"])
say("ready"); hear()
while claimed := intake.claim(7):
    assert not intake.settle([Ack(delivery.tag) for delivery in claimed])
    say(" ".join(delivery.body.decode() for delivery in claimed))
intake.close()
"""
    with Script(drain, url, "a") as one, Script(drain, url, "b") as two, Script(drain, url, "c") as three:
        workers = (one, two, three)
        for worker in workers:
            assert worker.hear() == "ready"
        for worker in workers:
            worker.say("go")
        counted = Counter(name for worker in workers for name in worker.rest())

    assert counted == Counter({str(number): 1 for number in range(3000)})


def test_a_producer_killed_at_any_moment_leaves_whole_batches(url: str, broker: SqliteBroker) -> None:
    produce = """
publisher = connect_broker(sys.argv[1], Stores()).publisher()
number = 0
while True:
    publisher.publish([Outgoing(routing_key="mail", headers=b"{}", body=b"%d" % number) for _ in range(10)])
    say(number); number += 1
"""
    with Script(produce, url) as producer:
        confirmed = 0
        while confirmed < 200:
            confirmed = int(producer.hear())
        producer.kill()
        confirmed = max([confirmed, *map(int, producer.rest())])

    counted = Counter(bodies(broker.intake("w", ["mail"]).claim(1_000_000)))

    assert set(counted.values()) == {10}
    assert len(counted) in (confirmed + 1, confirmed + 2)  # the last one may not have been said


def test_processes_that_open_a_new_file_at_the_same_time_all_succeed(url: str, broker: SqliteBroker) -> None:
    publish_one = """
say("ready"); hear()
publisher = connect_broker(sys.argv[1], Stores()).publisher()
publisher.publish([Outgoing(routing_key="mail", headers=b"{}", body=b"x")])
say("done")
"""
    with Script(publish_one, url) as one, Script(publish_one, url) as two, Script(publish_one, url) as three:
        openers = (one, two, three)
        for opener in openers:
            assert opener.hear() == "ready"
        for opener in openers:
            opener.say("go")
        for opener in openers:
            assert opener.hear() == "done"

    assert len(broker.intake("w", ["mail"]).claim(10)) == 3


def test_a_publisher_and_a_result_store_work_on_in_a_forked_child(
    tmp_path: Path, broker: SqliteBroker
) -> None:
    publisher = broker.publisher()
    publisher.publish([message("before")])
    results = SqliteResults(f"sqlite://{tmp_path}/results.db", SqliteConfig())
    results.store([StoredResult("before", "SUCCESS", b"1", None)])

    child = os.fork()
    if child == 0:
        try:
            publisher.publish([message("child")])
            results.store([StoredResult("child", "SUCCESS", b"2", None)])
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    publisher.publish([message("parent")])

    assert bodies(broker.intake("w", ["mail"]).claim(10)) == ["before", "child", "parent"]
    assert set(results.get(["before", "child"])) == {"before", "child"}
    results.close()


def test_a_message_that_cannot_be_stored_fails_its_own_call_only(broker: SqliteBroker) -> None:
    publisher = broker.publisher()
    refused: list[str] = []

    def publish(good: bool) -> None:
        for number in range(100):
            try:
                publisher.publish([message("first"), message(str(number), queue="mail" if good else None)])  # type: ignore[arg-type]
            except ValueError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=publish, args=(number != 1,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refused) == 100
    assert len(broker.intake("w", ["mail"]).claim(10_000)) == 3 * 200


def test_a_result_in_another_process_ends_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskd.results.sqlite._LOOK_S", 60.0)  # only the wake-up can end it in time
    url = f"sqlite://{tmp_path}/results.db"
    results = SqliteResults(url, SqliteConfig())
    store = """
results = connect_results(sys.argv[1], Stores())
say("ready")
for number in range(3):
    hear()
    results.store([StoredResult(f"t{number}", "SUCCESS", b"{}", None)])
"""
    with Script(store, url) as worker:
        assert worker.hear() == "ready"
        for number in range(3):
            worker.say("go")
            assert results.wait([f"t{number}"], Deadline.after(20.0)) == {f"t{number}": b"{}"}
    results.close()


def test_the_mailbox_of_a_dead_process_vanishes_and_a_living_one_stays(url: str, clock: Clock) -> None:
    broker = SqliteBroker(url, SqliteConfig(), clock.timing)
    intake = broker.intake("w", ["mail"])
    living = broker.mailbox("living", "everyone", "fanout")
    make_box = """
box = connect_broker(sys.argv[1], Stores()).mailbox("dying", "everyone", "fanout")
say("ready"); hear()
"""
    with Script(make_box, url) as other:
        assert other.hear() == "ready"
        clock.advance(10_000.0)
        intake.renew()
        assert _queues(broker) == ["dying", "living", "mail"]
        other.kill()

    clock.advance(10_000.0)
    intake.renew()

    assert _queues(broker) == ["living", "mail"]
    broker.publisher().publish([message("hello", "", exchange="everyone")])
    assert bodies(living.receive()) == ["hello"]
    broker.close()


def _queues(broker: SqliteBroker) -> list[str]:
    store = broker._open_store()
    with store.database.read() as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM queue ORDER BY name")]
    store.close()
    return names


def test_acks_of_a_killed_worker_are_not_undone(url: str, broker: SqliteBroker) -> None:
    publish(broker, 10)
    ack_half = """
intake = connect_broker(sys.argv[1], Stores()).intake("w", ["mail"])
claimed = intake.claim(10)
intake.settle([Ack(delivery.tag) for delivery in claimed[:5]])
say("half"); hear()
"""
    with Script(ack_half, url) as worker:
        assert worker.hear() == "half"

    intake = broker.intake("w", ["mail"])
    left = intake.claim(10)
    assert bodies(left) == ["5", "6", "7", "8", "9"]
    assert list(intake.settle([Ack(delivery.tag) for delivery in left])) == []
