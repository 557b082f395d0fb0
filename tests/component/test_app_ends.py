"""An app that answers takes each end that the worker decides, and only then is its message settled."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taskd.base.backoff import Backoff
from taskd.brokers.memory.intake import MemoryIntake
from taskd.config.programs import WorkerConfig
from taskd.config.schema import Config
from taskd.consumer import consumer as consumers
from taskd.consumer.claiming.admission import Admission
from taskd.consumer.commands.task_queries import TaskQueries
from taskd.consumer.orders import Shutdown
from taskd.consumer.running import app_ends
from taskd.consumer.running.app_ends import AppEnds, Handed
from taskd.consumer.running.probing import Way
from taskd.consumer.settling import decided_ends
from taskd.consumer.tasks import Tasks, TasksGiven
from taskd.pools.base import Pool
from taskd.pools.prefork.pool import PreforkPool
from taskd.pools.solo import SoloPool
from taskd.pools.threads import ThreadsPool
from taskd.protocol.delivery import Delay, Delivery, Outgoing
from taskd.protocol.execution import Cause
from taskd.protocol.message import decode_headers
from taskd.protocol.status import Draining, Heartbeat
from taskd.worker.pool_events import PoolEvents
from tests.component import answering_app
from tests.component.answering_app import TABLE, target, told
from tests.component.small_worker import SmallWorker, message
from tests.waiting import wait_until


class Answering(SmallWorker):
    """A worker whose app answers; ``told`` is what the app notes."""

    def __init__(self, room: Path, pool: str = "threads", **worker: Any) -> None:
        self.room = room
        super().__init__(pool, **{"max_deaths": 1, **worker})

    def _made_pool(self, table: WorkerConfig, config: Config, events: PoolEvents) -> Pool:
        if table.pool == "prefork":
            return PreforkPool(
                int(table.concurrency),
                [sys.executable, "-m", "tests.component.answering_app"],
                environment=os.environ,
                on_ready=events.on_ready,
                on_hello=events.on_hello,
                on_failed=events.on_failed,
                on_death=events.on_death,
            )
        events.on_hello(msgspec.json.encode(TABLE))
        if table.pool == "solo":
            return SoloPool(target, on_ready=events.on_ready)
        return ThreadsPool(int(table.concurrency), target, on_ready=events.on_ready)

    @property
    def told(self) -> Sequence[str]:
        return told(self.room / "told")

    def hears(self, line: str) -> None:
        wait_until(lambda: line in self.told, 20, f"{line!r} in {self.told}")

    def left(self) -> int:
        """Return how many messages the broker still has, dead letters aside."""
        return sum(each.ready + each.delayed + each.claimed for each in self.broker.desk().queues())

    @property
    def ends(self) -> AppEnds:
        return self.consumer._app_ends

    def queries(self) -> TaskQueries:
        """Return the questions of remote control about tasks."""
        intake = wait_until(lambda: self.consumer._connection.intake)
        tasks = TasksGiven(None, intake)  # type: ignore[arg-type]
        return TaskQueries("main-1@here", self.parts.work, self.parts.policy, tasks, self.ends)

    def last_trouble(self) -> str:
        """Return what the last heartbeat told of troubles."""
        beats = [line for line in self.reports if isinstance(line, Heartbeat)]
        return " ".join(trouble.text for trouble in beats[-1].troubles)

    def revoke(self, *task_ids: str) -> None:
        revoked = self.parts.policy.revoked
        self.do(lambda: revoked.learn({"revoked": list(task_ids)}))


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(answering_app.TOLD, str(tmp_path / "told"))
    monkeypatch.setenv(answering_app.AWAY, str(tmp_path / "away"))
    monkeypatch.setenv(answering_app.GATE, str(tmp_path / "gate"))
    monkeypatch.setattr(app_ends, "_AGAIN", Backoff(base_s=0.02, max_s=0.05))
    monkeypatch.setattr(app_ends, "_PROBES", Backoff(base_s=0.02, max_s=0.05))
    monkeypatch.setattr(app_ends, "_PUT_BACK_S", 0.05)
    monkeypatch.setattr(consumers, "RECONNECT", Backoff(base_s=0.001, max_s=0.004))
    yield tmp_path
    (tmp_path / "gate").touch()  # nothing waits any more


def expiring(task_id: str) -> Outgoing:
    sent = message("note", task_id)
    headers = sent.headers[:-1] + b',"expires":"2001-01-01T00:00:00Z"}'
    return msgspec.structs.replace(sent, headers=headers)


def misshapen(task_id: str) -> Outgoing:
    sent = message("note", task_id)
    return msgspec.structs.replace(sent, headers=sent.headers[:-1] + b',"eta":"whenever"}')


def open_end(task_id: str) -> Handed:
    """Return the end of a message that was acknowledged early."""
    sent = message("note", task_id)
    headers = decode_headers(sent.headers)
    delivery = Delivery(0, "default", task_id, sent.headers, sent.body)
    return Handed(delivery, headers, decided_ends.revoked(headers, Cause.EXPIRED), lambda _: None, None)


POOLS = ["threads", "solo", "prefork"]


@pytest.mark.parametrize("pool", POOLS)
def test_messages_that_do_not_run_are_settled_after_the_app_has_their_ends(room: Path, pool: str) -> None:
    with Answering(room, pool) as worker:
        worker.send(message("nobody", "unknown"), expiring("expired"), misshapen("malformed"))

        worker.hears("takes unknown FAILURE UNKNOWN")
        worker.hears("takes expired REVOKED EXPIRED")
        worker.hears("takes malformed FAILURE MALFORMED")
        wait_until(lambda: worker.left() == 0)
        assert set(worker.dead_letters()) == {"unknown", "malformed"}


@pytest.mark.parametrize("pool", ["threads", "prefork"])
@pytest.mark.parametrize(("early", "letters"), [("", {"break"}), ("_early", set())])
def test_runs_that_the_worker_ends_are_settled_after_the_app_has_their_ends(
    room: Path, pool: str, early: str, letters: set[str]
) -> None:
    with Answering(room, pool) as worker:
        worker.send(message(f"late{early}", "late"))
        if not early:
            worker.send(message("break", "break"))

        worker.hears("takes late FAILURE TIMED_OUT")
        if not early:
            worker.hears("takes break FAILURE BROKEN")
        wait_until(lambda: worker.left() == 0 and not worker.ends)
        assert set(worker.dead_letters()) == letters


@pytest.mark.parametrize(("early", "letters"), [("", {"gone"}), ("_early", set())])
def test_a_child_that_dies_for_good_is_told_to_the_app(room: Path, early: str, letters: set[str]) -> None:
    with Answering(room, "prefork") as worker:
        worker.send(message(f"die{early}", "gone"))

        worker.hears("takes gone FAILURE LOST")
        wait_until(lambda: worker.left() == 0 and not worker.ends)
        assert set(worker.dead_letters()) == letters


def test_a_run_that_somebody_ends_is_told_to_the_app(room: Path) -> None:
    with Answering(room, "prefork") as worker:
        worker.send(message("gated", "long"))
        worker.hears("runs long")
        (request,) = worker.parts.work.requests.values()

        def terminate() -> None:
            request.terminated_by = 15
            (tag,) = worker.parts.work.requests
            worker.pool.cancel(tag, 15)

        worker.do(terminate)

        worker.hears("takes long REVOKED TERMINATED")
        wait_until(lambda: worker.left() == 0)


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_messages_that_are_revoked_before_they_run_are_told_to_the_app(room: Path, pool: str) -> None:
    with Answering(room, pool, concurrency=1, prefetch=5) as worker:
        worker.send(message("gated", "long"), message("note", "held"))
        worker.hears("runs long")
        wait_until(lambda: len(worker.parts.work.requests) == 2)
        worker.revoke("held", "later")
        worker.send(message("note", "later"))
        wait_until(lambda: len(worker.ends) == 2)
        (room / "gate").touch()

        worker.hears("takes held REVOKED REVOKED")
        worker.hears("takes later REVOKED REVOKED")
        wait_until(lambda: worker.left() == 0)
        assert not {"runs held", "runs later"} & set(worker.told)


def test_a_message_on_which_the_worker_fails_is_parked_after_the_app_has_its_end(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise IndexError("nobody foresaw it")

    monkeypatch.setattr(Admission, "_job", fail)
    with Answering(room) as worker:
        worker.send(message("note", "odd"))

        worker.hears("takes odd FAILURE BROKEN")
        wait_until(lambda: "odd" in worker.dead_letters())


@pytest.mark.parametrize("pool", POOLS)
def test_nothing_is_settled_before_the_app_has_the_end(room: Path, pool: str) -> None:
    away = room / "away"
    away.touch()
    with Answering(room, pool) as worker:
        worker.send(message("nobody", "unknown"), expiring("expired"))
        if pool != "solo":
            worker.send(message("late", "late"))
            wait_until(lambda: worker.told.count("tries late") > 1)
        wait_until(lambda: worker.told.count("tries expired") > 1)
        wait_until(lambda: worker.told.count("tries unknown") > 1)

        assert worker.dead_letters() == {}
        assert not any(line.startswith("takes") for line in worker.told)
        away.unlink()

        wait_until(lambda: worker.left() == 0 and not worker.ends)
        assert set(worker.dead_letters()) == {"unknown"}
        assert worker.told.count("runs late") <= 1


def test_an_end_that_was_acknowledged_early_is_tried_until_the_backend_is_back(room: Path) -> None:
    away = room / "away"
    away.touch()
    with Answering(room) as worker:
        worker.send(message("late_early", "late"))
        wait_until(lambda: worker.told.count("tries late") > 2)
        away.unlink()

        worker.hears("takes late FAILURE TIMED_OUT")
        wait_until(lambda: not worker.ends)


@pytest.mark.parametrize(
    ("how", "pool"), [("kills", "prefork"), ("breaks", "threads"), ("breaks", "prefork"), ("breaks", "solo")]
)
def test_an_end_that_costs_its_slots_becomes_a_dead_letter(room: Path, how: str, pool: str) -> None:
    with Answering(room, pool) as worker:
        worker.send(expiring(f"{how}-it"))

        wait_until(lambda: f"{how}-it" in worker.dead_letters())
        assert "is not taken by the app" in worker.dead_letters()[f"{how}-it"].reason
        assert worker.told.count(f"tries {how}-it") == app_ends._MOST_LOST
        worker.send(expiring("fine"))
        worker.hears("takes fine REVOKED EXPIRED")


def test_an_end_that_the_app_can_never_take_becomes_a_dead_letter_at_once(room: Path) -> None:
    with Answering(room) as worker:
        worker.send(expiring("never-1"))

        wait_until(lambda: "never-1" in worker.dead_letters())
        assert worker.told == ["tries never-1"]


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_an_app_that_takes_too_long_is_asked_to_leave_off_and_keeps_its_process(
    room: Path, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_ends, "LIMIT_S", 0.1)
    with Answering(room, pool, concurrency=1) as worker:
        worker.send(message("late", "hangs-1"))

        wait_until(lambda: worker.told.count("tries hangs-1") > 2)
        lines = (room / "told").read_text().splitlines()
        assert len({line.rpartition(" ")[2] for line in lines if line.startswith("tries")}) == 1


def test_an_app_that_does_not_leave_off_loses_its_child(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_ends, "LIMIT_S", 0.0)
    monkeypatch.setattr(app_ends, "_LAST_S", 0.1)
    with Answering(room, "prefork") as worker:
        worker.send(expiring("waits-1"))

        wait_until(lambda: "waits-1" in worker.dead_letters())


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_an_end_waits_for_a_slot_while_the_pool_is_full(room: Path, pool: str) -> None:
    with Answering(room, pool, concurrency=1, prefetch=5) as worker:
        worker.send(message("gated", "long"))
        worker.hears("runs long")
        worker.send(message("nobody", "unknown"))
        wait_until(lambda: len(worker.ends) == 1)

        assert "tries unknown" not in worker.told
        (room / "gate").touch()
        worker.hears("takes unknown FAILURE UNKNOWN")
        wait_until(lambda: worker.left() == 0)


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_warm_shutdown_waits_for_ends_that_wait_for_a_slot(room: Path, pool: str) -> None:
    worker = Answering(room, pool, concurrency=1, prefetch=5)
    with worker:
        worker.send(message("gated", "long"))
        worker.hears("runs long")
        worker.send(message("nobody", "unknown"))
        wait_until(lambda: len(worker.ends) == 1)
        worker.do(lambda: worker.parts.orders.request_shutdown(Shutdown.WARM))
        (room / "gate").touch()

        wait_until(lambda: not worker.alive)
    assert worker.told[-1] == "takes unknown FAILURE UNKNOWN"
    assert (worker.left(), set(worker.dead_letters())) == (0, {"unknown"})


@pytest.mark.parametrize("pool", POOLS[:2])
def test_a_warm_shutdown_waits_until_the_backend_is_back(
    room: Path, pool: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    away = room / "away"
    away.touch()
    worker = Answering(room, pool)
    with worker:
        worker.send(message("break", "break"))
        wait_until(lambda: worker.told.count("tries break") > 1)
        worker.do(lambda: worker.parts.orders.request_shutdown(Shutdown.WARM))
        wait_until(lambda: worker.told.count("tries break") > 4)
        assert worker.alive
        away.unlink()

        wait_until(lambda: not worker.alive)
    assert "; 1 end of a task waits for the app's result backend" in caplog.text
    assert "takes break FAILURE BROKEN" in worker.told
    assert (worker.left(), set(worker.dead_letters())) == (0, {"break"})


def test_a_run_whose_end_is_open_is_shown_with_the_reason_until_it_is_stored(room: Path) -> None:
    away = room / "away"
    away.touch()
    with Answering(room) as worker:
        worker.send(message("late", "late"), message("nobody", "unknown"))
        wait_until(lambda: worker.told.count("tries late") > 1)
        queries = worker.queries()

        active: Any = worker.do(queries.active)
        (shown,) = active
        assert (shown["id"], shown["worker_pid"]) == ("late", None)
        assert (shown["end"]["state"], shown["end"]["attempts"] > 1) == ("FAILURE", True)
        assert shown["end"]["reason"] == "ConnectionError: the backend is away"
        asked: Any = worker.do(lambda: queries.query_task(["late"]))
        assert asked["late"][0] == "active"
        wait_until(lambda: "has not stored 1 end of a task: Connection" in worker.last_trouble())
        away.unlink()

        wait_until(lambda: not worker.ends)
        assert worker.do(queries.active) == []
        wait_until(lambda: worker.last_trouble() == "")


@pytest.mark.parametrize("pool", POOLS)
def test_while_the_backend_is_away_one_end_at_a_time_asks_for_all(room: Path, pool: str) -> None:
    away = room / "away"
    away.touch()
    with Answering(room, pool) as worker:
        worker.send(*(message("unstored_early", f"u{number}") for number in range(200)))
        wait_until(lambda: len(worker.ends) == 200)
        wait_until(lambda: worker.ends.probing.failures > 10)

        tried = sum(line.startswith("tries") for line in worker.told)
        # Those that were with the app when the first one failed, and the one that has just begun.
        assert tried <= worker.ends.probing.failures + 3
        away.unlink()

        wait_until(lambda: not worker.ends)
        taken = [line for line in worker.told if line.startswith("takes")]
        assert len(taken) == len(set(taken)) == 200


@pytest.mark.parametrize("pool", POOLS)
def test_ends_that_are_on_their_way_when_the_first_one_fails_are_called_back(room: Path, pool: str) -> None:
    away = room / "away"
    with Answering(room, pool, concurrency=1) as worker:
        wait_until(lambda: worker.pool.ready)
        ends = worker.ends
        away.touch()

        def hand_over() -> None:
            for number in range(100):
                ends.hand_over(open_end(f"h{number}"))

        worker.do(hand_over)
        wait_until(lambda: ends.probing.failures > 3)

        tried = sum(line.startswith("tries h") for line in worker.told)
        assert tried <= ends.probing.failures + 2
        away.unlink()
        wait_until(lambda: not worker.ends)


def test_an_end_that_has_to_wait_though_the_backend_is_there_shuts_no_way(room: Path) -> None:
    with Answering(room) as worker:
        worker.send(message("unstored_early", "claimed-1"), message("unstored_early", "other"))

        worker.hears("takes other FAILURE BROKEN")
        wait_until(lambda: worker.told.count("tries claimed-1") > 2)
        wait_until(lambda: [run.headers.id for run, _ in worker.ends.open_ends()] == ["claimed-1"])
        assert (worker.ends.probing.way, worker.ends.probing.failures) == (Way.OPEN, 0)


def test_an_end_that_can_never_be_stored_holds_up_no_other(room: Path) -> None:
    with Answering(room) as worker:
        worker.send(message("unstored_early", "refused-1"))
        wait_until(lambda: worker.told.count("tries refused-1") > 1)
        worker.send(*(message("unstored_early", f"u{number}") for number in range(20)))

        wait_until(lambda: sum(line.startswith("takes u") for line in worker.told) == 20)
        wait_until(lambda: worker.told.count("tries refused-1") > 3)
        worker.send(message("unstored_early", "later"))
        worker.hears("takes later FAILURE BROKEN")
        wait_until(lambda: len(worker.ends) == 1)  # the app notes it before the worker has its answer
        assert worker.ends.probing.way is Way.OPEN


def test_the_counts_of_a_worker_that_drains_add_up_to_what_keeps_it(room: Path) -> None:
    (room / "away").touch()
    worker = Answering(room, concurrency=2, prefetch=4)
    with worker:
        worker.send(message("late_early", "one"), message("late_early", "two"))
        wait_until(lambda: len(worker.ends.open_ends()) == 2)
        worker.send(*(message("gated", f"gated{number}") for number in range(4)))
        wait_until(lambda: sum(line.startswith("runs gated") for line in worker.told) == 2)
        worker.do(lambda: worker.parts.orders.request_shutdown(Shutdown.WARM))

        drains = wait_until(lambda: [line for line in worker.reports if isinstance(line, Draining)])
        assert [line.left for line in drains] == [4], "two tasks run, and two ends are open"
        (room / "away").unlink()
        (room / "gate").touch()
        wait_until(lambda: not worker.alive)


def test_the_number_of_messages_that_a_worker_may_hold_is_told_when_it_is_idle(room: Path) -> None:
    with Answering(room, concurrency=2, prefetch=5) as worker:
        worker.send(message("note", "one"))
        worker.hears("runs one")
        (step,) = (each for each in worker.consumer.steps if isinstance(each, Tasks))

        assert step.info()["prefetch_count"] == 7


def test_of_a_run_that_could_not_be_stored_the_log_says_why_its_result_is_a_failure(
    room: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Answering(room, "threads") as worker:
        worker.send(message("unstored_early", "unstored"), message("nobody", "unknown"))

        worker.hears("takes unstored FAILURE BROKEN")
        wait_until(lambda: "unknown" in worker.dead_letters())
        assert "have the app import its module" in str(worker.dead_letters())
    assert "ran to its end, which the app could not store; its result becomes FAILURE" in caplog.text


@pytest.mark.parametrize(
    ("name", "task_id", "left"), [("late", "late", 1), ("late_early", "late", 0), ("die", "gone", 1)]
)
def test_a_cold_shutdown_gives_back_what_the_app_has_not_taken(
    room: Path, name: str, task_id: str, left: int
) -> None:
    (room / "away").touch()
    worker = Answering(room, "prefork")
    with worker:
        worker.send(message(name, task_id))
        wait_until(lambda: f"tries {task_id}" in worker.told)
    assert (worker.left(), worker.dead_letters(), len(worker.ends)) == (left, {}, 0)


def test_a_message_that_comes_again_while_its_end_is_open_does_not_run_again(room: Path) -> None:
    away = room / "away"
    away.touch()
    with Answering(room, lease=0.3) as worker:
        worker.send(message("late", "late"))
        wait_until(lambda: "tries late" in worker.told)

        for _ in range(2):
            former = worker.consumer._claims.generation
            worker.broker.intake("main-1@here", ["default"]).close()
            wait_until(is_later_than(former, worker))
            wait_until(lambda: worker.broker.desk().queues()[0].claimed == 1)
        away.unlink()

        wait_until(lambda: worker.left() == 0 and not worker.ends)
        assert worker.told.count("runs late") == 1


def is_later_than(generation: int, worker: Answering) -> Callable[[], bool]:
    return lambda: worker.consumer._claims.generation > generation


def test_ends_that_wait_for_a_slot_outlive_lost_claims(room: Path) -> None:
    with Answering(room, concurrency=1, prefetch=5, lease=0.3) as worker:
        worker.send(message("gated_early", "long"))
        worker.hears("runs long")
        worker.send(message("nobody", "unknown"))
        wait_until(lambda: len(worker.ends) == 1)
        former = worker.consumer._claims.generation
        worker.broker.intake("main-1@here", ["default"]).close()
        wait_until(is_later_than(former, worker))
        (room / "gate").touch()

        worker.hears("takes unknown FAILURE UNKNOWN")
        wait_until(lambda: worker.left() == 0 and not worker.ends)
        assert set(worker.dead_letters()) == {"unknown"}


def test_a_message_that_did_not_run_waits_in_its_broker(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_ends, "_PUT_BACK_S", 60.0)
    settled: list[object] = []
    settle = MemoryIntake.settle

    def note(self: MemoryIntake, settlements: Sequence[object]) -> object:
        settled.extend(settlements)
        return settle(self, settlements)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryIntake, "settle", note)
    (room / "away").touch()
    with Answering(room) as worker:
        worker.send(expiring("expired"))

        wait_until(lambda: [type(each) for each in settled] == [Delay])
        wait_until(lambda: worker.broker.desk().queues()[0].delayed == 1)
        assert not worker.ends


@pytest.mark.parametrize("pool", POOLS)
def test_many_ends_go_through_a_small_pool(room: Path, pool: str) -> None:
    with Answering(room, pool, concurrency=1) as worker:
        worker.send(*(expiring(f"e{number}") for number in range(200)))
        worker.send(*(message("note", f"n{number}") for number in range(50)))

        wait_until(lambda: worker.left() == 0 and not worker.ends)
        taken = [line for line in worker.told if line.startswith("takes")]
        assert len(taken) == len(set(taken)) == 200
        assert worker.consumer.tally.done == 50
