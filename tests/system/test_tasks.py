"""Tasks from the client's call to the client's answer, through a real daemon."""

from __future__ import annotations

import json
import os
import pty
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from taskd import App
from tests.system import shop
from tests.system.daemon import Daemon
from tests.waiting import wait_until


def test_a_result_comes_back(daemon: Daemon) -> None:
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5


def test_an_exception_comes_back_as_its_own_type_with_the_remote_traceback(daemon: Daemon) -> None:
    result = daemon.app.send_task("shop.fail", ("tea", 3))

    with pytest.raises(shop.OutOfStock) as caught:
        result.get(timeout=60)

    assert (caught.value.item, caught.value.wanted) == ("tea", 3)
    assert "raise OutOfStock(item, wanted)" in str(caught.value.__cause__)
    assert result.state == "FAILURE"


def test_a_task_that_fails_is_retried_and_keeps_its_id(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "tries"
    result = daemon.app.send_task("shop.flaky", (str(path),))

    assert result.get(timeout=60) == 2
    assert path.read_text().split() == ["0", "1", "2"]


def test_async_functions_run_on_prefork(daemon: Daemon) -> None:
    assert daemon.app.send_task("shop.later", ("abc",)).get(timeout=60) == "ABC"


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_sync_and_async_functions_run_on_every_pool(make_daemon: Callable[..., Daemon], pool: str) -> None:
    daemon = make_daemon(f'[worker.main]\npool = "{pool}"\nconcurrency = 2\n')
    daemon.start()

    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5
    assert daemon.app.send_task("shop.later", ("abc",)).get(timeout=60) == "ABC"
    with pytest.raises(shop.OutOfStock):
        daemon.app.send_task("shop.fail", ("tea", 3)).get(timeout=60)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_task_is_mapped_over_many_items_in_chunks(make_daemon: Callable[..., Daemon], pool: str) -> None:
    daemon = make_daemon(f'[worker.main]\npool = "{pool}"\nconcurrency = 2\n')
    daemon.start()
    sender = App(config=str(daemon.file))
    squared = sender.task(name="shop.squared")(shop.squared.run)

    found = sender.map(squared, range(-3, 300), chunk=20, return_exceptions=True, timeout=60)
    sender.close()

    assert isinstance(found[0], shop.OutOfStock)
    assert "raise OutOfStock" in str(found[0].__cause__)
    assert found[3:] == [number * number for number in range(300)]


def test_a_countdown_is_held_by_the_broker_and_shown_by_inspect(daemon: Daemon) -> None:
    later = daemon.app.send_task("shop.add", (1, 1), countdown=3600)
    soon = daemon.app.send_task("shop.add", (1, 2), countdown=0.3)

    assert soon.get(timeout=60) == 3
    assert later.id in daemon.ctl("inspect", "scheduled", "--json").stdout
    assert later.state == "PENDING"


def test_an_expired_task_does_not_run_and_says_so(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = make_daemon()
    path = tmp_path / "ran"
    result = daemon.app.send_task("shop.hold", (str(path), "/"), expires=0.01)
    expires_at = time.time() + 0.01
    wait_until(lambda: time.time() > expires_at)
    daemon.start()

    with pytest.raises(Exception, match="expired"):
        result.get(timeout=60)

    assert result.state == "REVOKED"
    assert not path.exists()


def test_higher_priority_is_served_first(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = make_daemon('[worker.main]\npool = "solo"\n')
    path = tmp_path / "order"
    for priority in (0, 9, 5):
        daemon.app.send_task("shop.note", (str(path), f"p{priority}"), priority=priority)
    daemon.start()

    wait_until(lambda: path.exists() and len(path.read_text().split()) == 3, 10)

    assert path.read_text().split() == ["p9", "p5", "p0"]


def test_an_unknown_task_is_dead_lettered_and_answered(daemon: Daemon) -> None:
    result = daemon.app.send_task("shop.no_such_task", ())

    with pytest.raises(Exception, match=r"shop\.no_such_task"):
        result.get(timeout=60)

    letters = wait_until(daemon.dead_letters)
    assert [letter["task_id"] for letter in letters] == [result.id]
    assert "not registered" in str(letters[0]["reason"])


def test_a_body_that_cannot_be_decoded_is_dead_lettered(daemon: Daemon) -> None:
    from taskd.protocol.delivery import Outgoing

    broker = daemon.broker()
    publisher = broker.publisher()
    bodies = [b"\xff\x00garbage", b"{}", b"[1]", b'["x", {}, {}]', b"[" * 50_000]
    publisher.publish(
        [
            Outgoing(
                routing_key="default", headers=b'{"task": "shop.add", "id": "bad-%d"}' % number, body=body
            )
            for number, body in enumerate(bodies)
        ]
        + [Outgoing(routing_key="default", headers=b"no json", body=b"")]
    )
    publisher.close()
    broker.close()

    wait_until(lambda: len(daemon.dead_letters()) == len(bodies) + 1, 10)

    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5, "the worker is unharmed"


def test_messages_of_protocol_1_run_and_messages_that_cannot_be_meant_are_answered(daemon: Daemon) -> None:
    from taskd.protocol.delivery import Outgoing

    old = b'{"task": "shop.add", "id": "old", "args": [2, 3], "kwargs": {}, "retries": null, "utc": true}'
    odd = b'{"task": "shop.add", "id": "odd", "retries": null, "timelimit": [], "expires": "2199-01-01"}'
    unclear = b'{"task": "shop.add", "id": "unclear", "eta": "soon"}'
    body = b"[[2, 3], [], []]"
    with closing(daemon.broker()) as broker, closing(broker.publisher()) as publisher:
        publisher.publish(
            [
                Outgoing(routing_key="default", headers=b"{}", body=old, content_encoding="binary"),
                Outgoing(routing_key="default", headers=odd, body=body, content_encoding="binary"),
                Outgoing(routing_key="default", headers=unclear, body=body),
            ]
        )

    assert daemon.app.result("old").get(timeout=60) == 5
    assert daemon.app.result("odd").get(timeout=60) == 5
    with pytest.raises(Exception, match="eta is 'soon'; expected a time"):
        daemon.app.result("unclear").get(timeout=60)
    wait_until(lambda: len(daemon.dead_letters()) == 1)


def test_a_task_whose_child_dies_runs_again(daemon: Daemon, tmp_path: Path) -> None:
    result = daemon.app.send_task("shop.killed_at_first", (str(tmp_path / "runs"),))

    assert result.get(timeout=60) == 2


def test_a_task_that_kills_every_child_is_parked_with_the_evidence(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "runs"
    result = daemon.app.send_task("shop.segfault", (str(path),))

    with pytest.raises(Exception, match="SIGSEGV"):
        result.get(timeout=60)

    assert len(path.read_text().split()) == 3
    (letter,) = wait_until(daemon.dead_letters)  # the result is stored before it
    assert "SIGSEGV" in str(letter["reason"])
    shown = json.loads(daemon.ctl("dlq", "show", str(letter["id"]), "--json").stdout)
    evidence = shown["evidence"]
    assert (evidence["deaths"], evidence["signal"]) == (3, signal.SIGSEGV)
    assert evidence["max_rss_bytes"] > 1_000_000
    assert "Segmentation fault" in evidence["last_words"]
    assert evidence["last_lines"].splitlines()[0] == "about to fall"
    assert "task=shop.segfault" in evidence["last_lines"]
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5


def test_a_forgotten_result_is_gone(daemon: Daemon) -> None:
    result = daemon.app.send_task("shop.add", (2, 3))
    assert result.get(timeout=60) == 5

    result.forget()

    assert result.state == "PENDING"


def test_a_bulk_send_runs_every_task(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    app = daemon.app
    app.send_many([app.call("shop.note", str(path), str(number)) for number in range(1500)])

    wait_until(lambda: path.exists() and len(path.read_text().split()) >= 1500, 20)

    assert sorted(map(int, path.read_text().split())) == list(range(1500))


def test_a_task_acknowledged_early_runs_at_most_once(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "runs"
    result = daemon.app.send_task("shop.killed_early", (str(path),))

    with pytest.raises(Exception, match="SIGKILL"):
        result.get(timeout=60)

    assert len(path.read_text().split()) == 1
    assert daemon.dead_letters() == []


def test_a_task_acknowledged_early_can_be_retried(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "tries"
    result = daemon.app.send_task("shop.early_flaky", (str(path),))

    assert result.get(timeout=60) == 1
    assert path.read_text().split() == ["0", "1"]


def test_a_task_may_send_its_message_back_and_refuse_it(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "runs"
    result = daemon.app.send_task("shop.refuse", (str(path),))

    with pytest.raises(Exception, match="not at all"):
        result.get(timeout=60)

    assert path.read_text().split() == ["run", "run"]
    (letter,) = wait_until(daemon.dead_letters)
    assert letter["reason"] == "not at all"


def test_a_soft_limit_lets_the_task_tidy_up(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "tidy"

    assert daemon.app.send_task("shop.patient", (str(path),)).get(timeout=60) == "stopped in time"
    assert path.read_text().split() == ["tidied"]


def test_a_hard_limit_ends_the_task_and_answers_whoever_waits(daemon: Daemon) -> None:
    result = daemon.app.send_task("shop.stubborn", ())

    with pytest.raises(Exception, match=r"0\.3"):
        result.get(timeout=60)

    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5


def test_a_solo_worker_may_work_longer_than_its_lease(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon('[worker.main]\npool = "solo"\nlease = "1s"\n')
    daemon.start()
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    result = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(runs.exists, 10)
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > 2.0, 5)  # two leases
    gate.touch()

    assert result.get(timeout=60) == "held"
    assert len(runs.read_text().split()) == 1


def test_short_tasks_claimed_ahead_of_long_ones_are_given_to_another_worker(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon('[worker.main]\npool = "prefork"\nconcurrency = 1\nprocesses = 2\n')
    daemon.start()
    app, gate, runs, notes = daemon.app, tmp_path / "gate", tmp_path / "runs", tmp_path / "notes"
    app.wait_all(
        app.send_many([app.call("shop.add", 1, 1) for _ in range(2000)]), 30
    )  # now they count as short
    held = app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(runs.exists, 10)

    app.send_many([app.call("shop.note", str(notes), "x") for _ in range(200)])
    wait_until(lambda: notes.exists() and len(notes.read_text().split()) == 200, 10, "every short task")

    assert held.state == "PENDING"
    gate.touch()
    assert held.get(timeout=60) == "held"


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_breakpoint_asks_at_the_terminal_of_the_daemon(
    make_daemon: Callable[..., Daemon], pool: str
) -> None:
    ours, theirs = pty.openpty()
    daemon = make_daemon(f'[worker.main]\npool = "{pool}"\nconcurrency = 1\n')
    daemon.start(stdin=theirs)
    try:
        result = daemon.app.send_task("shop.stop_here", (1,))
        said = b""
        while b"(Pdb) " not in said:
            said += os.read(ours, 4096)
        os.write(ours, b"number = 42\nc\n")

        assert result.get(timeout=60) == 42
        assert daemon.stop() == 0
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_task_that_failed_for_good_is_kept_and_run_again(daemon: Daemon) -> None:
    result = daemon.app.send_task("shop.fail", ("tea", 3))
    with pytest.raises(shop.OutOfStock):
        result.get(timeout=60)

    def failed() -> list[dict[str, object]]:
        return daemon.dead_letters("failed")

    (letter,) = wait_until(failed)  # the result is stored before it
    assert letter["task_id"] == result.id
    assert letter["state"] == "failed"
    shown = daemon.ctl("dlq", "show", str(letter["id"])).stdout
    assert "raise OutOfStock(item, wanted)" in shown
    assert daemon.dead_letters() == []
    (queue,) = [
        each for each in json.loads(daemon.ctl("queues", "--json").stdout)["queues"] if each["failed"]
    ]
    assert (queue["name"], queue["dead"], queue["failed"]) == ("default", 0, 1)
    assert "requeued: 1" in daemon.ctl("dlq", "requeue", "--state", "failed", "--all").stdout
    # It fails again, later; on the embedded broker it is the same message, so the ids are equal.
    wait_until(lambda: [each for each in failed() if each["died_at"] != letter["died_at"]])
