"""What every result backend promises that keeps something, or carries it to whoever waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from taskd.base.lifecycle import Deadline
from taskd.brokers.amqp.broker import AmqpBroker
from taskd.brokers.amqp.server import AmqpServer
from taskd.config.stores import AmqpConfig, RedisConfig, SqliteConfig
from taskd.protocol.results import state_record
from taskd.results.base import Collector, ResultStore, StoredResult
from taskd.results.memory import MemoryResults
from taskd.results.redis import RedisResults
from taskd.results.rpc import RpcResults
from taskd.results.sqlite import SqliteResults
from taskd.sending.replies import BrokerPost
from tests import services


class _PatientRpc(RpcResults):
    """Sender and worker in one, who waits for what is on its way from the one to the other."""

    def __init__(self) -> None:
        broker = AmqpBroker(AmqpServer(services.rabbit_url(), AmqpConfig()))
        super().__init__(BrokerPost(broker, 86_400.0))

    def store(self, results: Sequence[StoredResult]) -> None:
        to = self.reply_to()
        addressed = [msgspec.structs.replace(each, reply_to=to) for each in results]
        # The last one tells that all have come.
        super().store([*addressed, StoredResult("end", "SUCCESS", record("end", "SUCCESS"), None, to)])
        super().wait(["end"], Deadline.after(60.0))
        self.forget(["end"])


#: One line for each backend that joins.
OPENERS: Mapping[str, Callable[[Path], ResultStore]] = {
    "memory": lambda directory: MemoryResults(f"memory://{directory}"),
    # Keys of their own for each test, on a server that all share.
    "redis": lambda directory: RedisResults(services.redis_url(), RedisConfig(key_prefix=f"{directory}:")),
    "rpc": lambda directory: _PatientRpc(),
    "sqlite": lambda directory: SqliteResults(f"sqlite://{directory}/results.db", SqliteConfig()),
}


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] if name == "rpc" else []) for name in sorted(OPENERS)]
)
def results(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ResultStore]:
    opened = OPENERS[request.param](tmp_path)
    yield opened
    opened.close()


@pytest.fixture(params=["memory", "sqlite"])
def sweeping(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ResultStore]:
    """A backend that drops what expires only when it is asked to."""
    opened = OPENERS[request.param](tmp_path)
    yield opened
    opened.close()


def result(
    task_id: str, state: str = "SUCCESS", text: str = "", expires_at: float | None = None
) -> StoredResult:
    return StoredResult(task_id, state, record(task_id, state, text), expires_at)


def record(task_id: str, state: str, text: str = "") -> bytes:
    return f'{{"status": "{state}", "result": "{text}", "task_id": "{task_id}"}}'.encode()


def test_what_was_stored_is_found_by_task_id(results: ResultStore) -> None:
    results.store([result("a"), result("b", "FAILURE")])

    assert results.get(["a", "b", "c"]) == {"a": record("a", "SUCCESS"), "b": record("b", "FAILURE")}


def test_nothing_is_found_of_nothing(results: ResultStore) -> None:
    results.store([])

    assert results.get([]) == {}
    assert results.wait([], Deadline.after(10.0)) == {}


def test_a_later_state_takes_the_place_of_an_earlier_one(results: ResultStore) -> None:
    for state in ("STARTED", "RETRY", "FAILURE", "SUCCESS"):
        results.store([result("a", state)])
        assert results.get(["a"]) == {"a": record("a", state)}


@pytest.mark.parametrize("state", ["FAILURE", "RETRY", "REVOKED", "STARTED"])
def test_a_success_is_never_overwritten_by_another_state(results: ResultStore, state: str) -> None:
    results.store([result("a", "SUCCESS", "good")])

    results.store([result("a", state), result("b", state)])

    assert results.get(["a"]) == {"a": record("a", "SUCCESS", "good")}
    assert set(results.get(["b"])) == {"b"}


def test_what_a_tasks_own_values_say_of_success_is_not_its_state(results: ResultStore) -> None:
    progress = state_record(
        "1", "WAITING", {"upstream": {"status": "SUCCESS"}, "task": '"status": "SUCCESS"'}
    )
    turned = b'{"result": {"status": "SUCCESS"}, "task_id": "1", "status": "WAITING"}'

    for first in (progress, turned):
        results.store([StoredResult("1", "WAITING", first, None)])
        results.store([result("1", "FAILURE")])
        assert results.get(["1"]) == {"1": record("1", "FAILURE")}
        results.forget(["1"])


def test_a_success_may_be_written_again(results: ResultStore) -> None:
    results.store([result("a", "SUCCESS", "first")])
    results.store([result("a", "SUCCESS", "second")])

    assert results.get(["a"]) == {"a": record("a", "SUCCESS", "second")}


def test_the_last_of_one_batch_counts(results: ResultStore) -> None:
    results.store([result("a", "STARTED"), result("a", "SUCCESS"), result("a", "FAILURE")])

    assert results.get(["a"]) == {"a": record("a", "SUCCESS")}


def test_a_forgotten_result_is_gone(results: ResultStore) -> None:
    results.store([result("a"), result("b")])

    results.forget(["a", "unknown"])

    assert set(results.get(["a", "b"])) == {"b"}


def test_results_expire_at_their_time(sweeping: ResultStore) -> None:
    sweeping.store([result("old", expires_at=10.0), result("new", expires_at=20.0), result("ever")])

    assert sweeping.expire(15.0) == 1
    assert set(sweeping.get(["old", "new", "ever"])) == {"new", "ever"}


def test_a_rewritten_result_expires_at_its_new_time(sweeping: ResultStore) -> None:
    sweeping.store([result("a", expires_at=10.0)])
    sweeping.store([result("a", expires_at=None)])

    assert sweeping.expire(15.0) == 0


def test_many_results_expire_in_one_call(sweeping: ResultStore) -> None:
    sweeping.store([result(str(number), expires_at=1.0) for number in range(2500)])

    assert sweeping.expire(1.0) == 2500


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "REVOKED"])
def test_waiting_ends_at_once_when_a_task_is_final_already(results: ResultStore, state: str) -> None:
    results.store([result("a", state)])

    assert set(results.wait(["a", "b"], Deadline.after(60.0))) == {"a"}


@pytest.mark.parametrize("state", ["STARTED", "RETRY"])
def test_waiting_goes_on_while_a_task_is_not_final(results: ResultStore, state: str) -> None:
    results.store([result("a", state)])

    assert results.wait(["a"], Deadline.after(0.02)) == {}


@pytest.mark.parametrize("until", [60.0, float("inf")])
def test_a_waiting_thread_is_woken_by_the_result(results: ResultStore, until: float) -> None:
    found: list[Mapping[str, bytes]] = []
    waiter = threading.Thread(target=lambda: found.append(results.wait(["a", "b"], Deadline.after(until))))
    waiter.start()

    results.store([result("other")])
    results.store([result("b", "FAILURE")])
    waiter.join(60.0)

    assert found == [{"b": record("b", "FAILURE")}]


def test_several_threads_wait_for_different_results(results: ResultStore) -> None:
    found: dict[str, Mapping[str, bytes]] = {}

    def wait(task_id: str) -> None:
        found[task_id] = results.wait([task_id], Deadline.after(60.0))

    names = [f"task-{number}" for number in range(5)]
    waiters = [threading.Thread(target=wait, args=(name,)) for name in names]
    for waiter in waiters:
        waiter.start()
    for name in names:
        results.store([result(name)])
    for waiter in waiters:
        waiter.join(60.0)

    assert {name: set(records) for name, records in found.items()} == {name: {name} for name in names}


def collected(collector: Collector, patience_s: float = 10.0) -> list[str]:
    """Return the ids of what is found until nothing more is pending, or comes in time."""
    found: list[str] = []
    while records := collector.next(Deadline.after(patience_s)):
        found += records
    return found


def test_each_result_is_collected_once_whenever_it_came(results: ResultStore) -> None:
    names = [str(number) for number in range(1200)]
    results.store([result("other"), *map(result, names[:600])])
    collector = results.collect([*names, "never"])

    early = [*collector.next(Deadline.after(10.0)), *collected(collector, 0.0)]
    results.store([result(name, "FAILURE") for name in reversed(names[600:900])])
    results.store([result("another")])
    middle = [*collector.next(Deadline.after(10.0)), *collected(collector, 0.5)]
    results.store([result(name) for name in names[900:]])
    late = collected(collector, 0.5)

    assert set(early) == set(names[:600])
    assert [*early, *middle, *late].count("never") == 0
    assert sorted([*early, *middle, *late], key=int) == names
    assert collector.next(Deadline.after(0.0)) == {}
    collector.close()
    collector.close()


def test_a_task_that_has_begun_is_collected_when_it_ends(results: ResultStore) -> None:
    results.store([result("early", "RETRY")])
    collector = results.collect(["early", "late"])
    assert collector.next(Deadline.after(0.0)) == {}

    results.store([result("late", "STARTED")])
    assert collector.next(Deadline.after(0.05)) == {}
    results.store([result("early", "SUCCESS", "now"), result("late", "FAILURE")])

    found: dict[str, bytes] = {}
    while len(found) < 2 and (more := collector.next(Deadline.after(10.0))):
        found.update(more)
    collector.close()
    assert found == {"early": record("early", "SUCCESS", "now"), "late": record("late", "FAILURE")}


def test_what_is_forgotten_as_it_is_collected_hides_nothing(results: ResultStore) -> None:
    names = [str(number) for number in range(20)]
    collector = results.collect(names)
    assert collector.next(Deadline.after(0.0)) == {}

    found: list[str] = []
    for name in names:  # a number in the table that is given again must not be taken for one that was read
        results.store([result(name)])
        found += collector.next(Deadline.after(0.9))
        results.forget([name])
    collector.close()

    assert found == names


def test_closing_twice_does_nothing(results: ResultStore) -> None:
    results.close()
    results.close()
