"""Queues of RabbitMQ with arguments: quorum queues, priorities; and messages that are not due."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from taskd.brokers.amqp.broker import AmqpBroker
from taskd.brokers.amqp.server import AmqpServer
from taskd.config.stores import AmqpConfig
from taskd.protocol.delivery import Ack, Dead, Requeue
from tests import services
from tests.contract.brokers import first_claim, is_readable, message
from tests.system.daemon import Daemon, head_over
from tests.system.notes import lines
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

QUORUM = '[amqp]\nqueue_type = "quorum"\n'
PRIORITIES = "[amqp]\nmax_priority = 9\n"
WORKER = '[worker.main]\nqueues = ["default"]\npool = "prefork"\nconcurrency = 2\nlease = "3s"\n'
ONE_AT_A_TIME = '[worker.main]\nqueues = ["default"]\npool = "prefork"\nconcurrency = 1\nprefetch = 0\n'


@pytest.fixture
def url() -> str:
    return services.rabbit_url()


@pytest.fixture
def quorum(url: str) -> Iterator[AmqpBroker]:
    with closing(AmqpBroker(AmqpServer(url, AmqpConfig(queue_type="quorum")))) as broker:
        yield broker


def queue_types(url: str) -> dict[str, str]:
    """Return the types of the queues of a virtual host by name."""
    server = services.rabbit_server()
    host = url.rpartition("/")[2]
    found = server.control("list_queues", "--vhost", host, "name", "type", "--formatter", "json")
    return {row["name"]: row["type"] for row in json.loads(found)}


def test_a_daemon_on_quorum_queues_runs_retries_and_buries(
    make_daemon: Callable[..., Daemon], url: str, tmp_path: Path
) -> None:
    daemon = make_daemon(QUORUM + WORKER, head=head_over(url, "sqlite://results.db"))
    daemon.start()
    gate, runs = tmp_path / "gate", tmp_path / "runs"

    held = [daemon.app.send_task("shop.hold", (str(runs), str(gate))) for _ in range(2)]
    flaky = daemon.app.send_task("shop.flaky", (str(tmp_path / "flaky"),))
    wait_until(lambda: len(lines(runs)) == 2, 10)
    os.kill(int(lines(runs)[0]), signal.SIGKILL)
    wait_until(lambda: len(lines(runs)) == 3, 10)
    os.kill(daemon.pid_of("main-1"), signal.SIGKILL)
    # One of the two is in its last life now, and takes turns with nobody: the other is not.
    wait_until(lambda: len(lines(runs)) == 5, 20)
    gate.touch()
    daemon.app.send_task("no.such.task")

    assert [each.get(timeout=60) for each in held] == ["held", "held"]
    assert flaky.get(timeout=60) == 2
    (letter,) = wait_until(daemon.dead_letters, 10)
    assert 'task "no.such.task" is not registered' in str(letter["reason"])
    types = queue_types(url)
    assert {types["default"], types["taskd.dead"]} == {"quorum"}


def test_a_quorum_queue_counts_how_often_a_message_came_back(quorum: AmqpBroker) -> None:
    quorum.publisher().publish([message("again")])

    counts = []
    for _ in range(3):
        intake = quorum.intake("a@host", ["mail"])
        delivery = first_claim(intake)
        counts.append(delivery.deliveries)
        intake.close()  # as a crash would: the server takes the message back

    assert counts == [1, 2, 3]


def test_a_message_of_a_quorum_queue_is_settled_in_every_way(quorum: AmqpBroker) -> None:
    intake = quorum.intake("a@host", ["mail"])
    quorum.publisher().publish([message(text) for text in ("done", "back", "died", "dead")])
    claimed: dict[bytes, int] = {}
    while len(claimed) < 4:
        assert is_readable(intake)
        intake.clear_wakeups()
        claimed.update({delivery.body: delivery.tag for delivery in intake.claim(4)})

    refused = intake.settle(
        [
            Ack(claimed[b"done"]),
            Requeue(claimed[b"back"], started=False),
            Requeue(claimed[b"died"], died=True),
            Dead(claimed[b"dead"], "a reason"),
        ]
    )

    assert refused == []
    found: dict[bytes, int] = {}
    while len(found) < 2:
        assert is_readable(intake)
        intake.clear_wakeups()
        found.update({delivery.body: delivery.deaths for delivery in intake.claim(4)})
    assert found == {b"back": 0, b"died": 1}
    assert [letter.reason for letter in quorum.desk().dead_letters()] == ["a reason"]


def test_the_urgent_come_first(make_daemon: Callable[..., Daemon], url: str, tmp_path: Path) -> None:
    daemon = make_daemon(PRIORITIES + ONE_AT_A_TIME, head=head_over(url, "sqlite://results.db"))
    notes = tmp_path / "notes"
    for priority in (0, 5, 9, 3, 7):
        daemon.app.send_task("shop.note", (str(notes), str(priority)), priority=priority)

    daemon.start()

    wait_until(lambda: len(lines(notes)) == 5, 10)
    assert lines(notes) == ["9", "7", "5", "3", "0"]


def test_thousands_of_messages_that_are_not_due_block_none_that_is(
    make_daemon: Callable[..., Daemon], url: str
) -> None:
    daemon = make_daemon(WORKER, head=head_over(url, "sqlite://results.db"))
    call = daemon.app.call("shop.add", 1, 1).with_options(countdown=3600.0)
    daemon.app.send_many([call] * 3000)
    daemon.start()

    assert daemon.app.send_task("shop.add", (2, 2)).get(timeout=60) == 4
    soon = daemon.app.send_task("shop.add", (3, 3), countdown=0.5)
    assert soon.get(timeout=60) == 6
