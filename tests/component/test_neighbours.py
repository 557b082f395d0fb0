"""Mingle and Gossip: what workers of a cluster learn of one another."""

from __future__ import annotations

import json
from functools import partial

import pytest

from taskd.base import clock
from taskd.brokers.memory.broker import MemoryBroker
from taskd.brokers.topology import EVENT_EXCHANGE
from taskd.consumer.neighbours.mingle import HOLD_S
from taskd.protocol.delivery import Outgoing
from taskd.revocations.known import By
from tests.component.cluster import Node, new_url
from tests.waiting import wait_until


@pytest.fixture
def url() -> str:
    return new_url()


def publish(node: Node, *messages: Outgoing) -> None:
    node.broker.publisher().publish(messages)


def task(task_id: str) -> Outgoing:
    headers = json.dumps({"task": "note", "id": task_id}).encode()
    return Outgoing(routing_key="default", headers=headers, body=b"[[],{},{}]")


def test_a_new_worker_learns_what_is_revoked_before_it_claims(url: str) -> None:
    with Node(url, "old@a", queue="other") as old:
        old.do(lambda: old.parts.policy.revoked.known[By.ID].add(["id-1"], clock.monotonic()))
        old.do(lambda: old.parts.policy.revoked.known[By.NAME].add(["bad"], clock.monotonic()))
        old.do(lambda: old.parts.voice.logical.adjust(1000))
        new = Node(url, "new@b")
        publish(new, task("id-1"), task("id-2"))

        with new:
            wait_until(lambda: new.pool.held, 10)
            assert [request.headers.id for request in new.parts.work.requests.values()] == ["id-2"]
            assert "bad" in new.parts.policy.revoked.known[By.NAME]
            assert new.parts.voice.logical.value > 1000


def test_the_old_workers_learn_from_the_new_one(url: str) -> None:
    with Node(url, "old@a") as old:
        new = Node(url, "new@b")
        new.parts.policy.revoked.known[By.ID].add(["id-1"], clock.monotonic())

        with new:
            wait_until(lambda: "id-1" in old.parts.policy.revoked.known[By.ID], 10)


def test_a_lone_worker_is_held_up_for_a_moment_only(url: str) -> None:
    node = Node(url, "only@a")
    publish(node, task("id-1"))
    before = clock.monotonic()

    with node:
        wait_until(lambda: node.pool.held, 10)

    assert clock.monotonic() - before >= HOLD_S


def test_answers_that_are_none_do_no_harm(url: str) -> None:
    with Node(url, "liar@a", mingle=False) as liar:
        asked = liar.broker.mailbox("spy", "celery.pidbox", "fanout")
        with Node(url, "new@b") as new:
            (request,) = wait_until(asked.receive, 10)
            question = json.loads(request.body)
            ours = json.dumps({"ticket": question["ticket"]}).encode()
            for headers, body in (
                (b"{", b"{}"),
                (b'{"clock": -7}', b"{}"),
                (b"{}", b"[1]"),
                (b"{}", b"\xff"),
                (ours, b'{"x@y": 7}'),
                (ours, b'{"x@y": {"revoked": 7, "clock": "late"}}'),
                (ours, b'{"x@y": {"revoked": [1, "id-1"]}}'),
            ):
                reply_to = question["reply_to"]
                publish(
                    liar,
                    Outgoing(
                        exchange=reply_to["exchange"],
                        routing_key=reply_to["routing_key"],
                        headers=headers,
                        body=body,
                    ),
                )

            wait_until(lambda: "id-1" in new.parts.policy.revoked.known[By.ID], 10)


def test_workers_see_each_other_come_and_go(url: str) -> None:
    with Node(url, "one@a") as one, Node(url, "two@b") as two:
        with Node(url, "three@c") as three:
            wait_until(lambda: one.neighbours() == ["three@c", "two@b"], 10)
            wait_until(lambda: three.neighbours() == ["one@a", "two@b"], 10)

        wait_until(lambda: one.neighbours() == ["two@b"], 10)
        wait_until(lambda: two.neighbours() == ["one@a"], 10)


def test_garbage_among_the_events_harms_nobody(url: str) -> None:
    with Node(url, "one@a") as one, Node(url, "two@b"):
        sender = one.broker.event_sender()
        garbage = [b"", b"[" * 10_000, b"{}", b'{"type": "worker-elect", "hostname": "x", "timestamp": 1}']
        garbage += [
            json.dumps({"type": kind, "hostname": "x", "timestamp": 1, **more}).encode()
            for kind in ("worker-heartbeat", "worker-elect", "worker-elect-ack", "worker-", "x")
            for more in (
                {"freq": "often"},
                {"id": 7},
                {"id": "e", "topic": None},
                {"freq": 1e300, "active": 1e300},
            )
        ]
        sender.send(
            [
                Outgoing(exchange=EVENT_EXCHANGE, routing_key="worker.heartbeat", headers=b"{}", body=body)
                for body in garbage
            ]
        )

        wait_until(lambda: "two@b" in one.neighbours(), 10)


def test_one_of_the_workers_is_elected_and_sends_the_task(url: str) -> None:
    action = {
        "task": "nightly",
        "args": [1],
        "kwargs": {},
        "options": {"queue": "chosen"},
        "immutable": False,
    }
    with Node(url, "one@a") as one, Node(url, "two@b") as two:
        wait_until(lambda: one.neighbours() and two.neighbours(), 10)

        for node in (one, two):
            electing = node.gossip
            assert electing is not None
            node.do(partial(electing.elect, "e-1", "task", action))

        desk = one.broker.desk()
        wait_until(lambda: any(queue.name == "chosen" for queue in desk.queues()), 10)
        # Whoever has heard an event that came later has counted all answers.
        with Node(url, "three@c"):
            wait_until(lambda: "three@c" in one.neighbours() and "three@c" in two.neighbours(), 10)
        (chosen,) = [queue for queue in desk.queues() if queue.name == "chosen"]
        assert chosen.ready == 1


def test_a_lone_worker_elects_itself(url: str) -> None:
    with Node(url, "one@a") as one:
        wait_until(lambda: one.gossip is not None, 10)
        electing = one.gossip
        assert electing is not None

        one.do(lambda: electing.elect("e-1", "task", {"task": "nightly", "options": {"queue": "chosen"}}))

        wait_until(lambda: any(queue.name == "chosen" for queue in one.broker.desk().queues()), 10)


@pytest.mark.parametrize("action", [None, {}, {"task": 7}, {"task": "t", "subtask_type": "chain"}, [1]])
def test_an_action_that_is_no_task_harms_nobody(url: str, action: object) -> None:
    with Node(url, "one@a") as one:
        wait_until(lambda: one.gossip is not None, 10)
        electing = one.gossip
        assert electing is not None

        one.do(lambda: electing.elect("e-1", "task", action))
        one.do(lambda: electing.elect("e-2", "tea", action))
        one.do(lambda: electing.elect("e-3", "task", {"task": "nightly", "options": {"queue": "chosen"}}))

        wait_until(lambda: any(queue.name == "chosen" for queue in one.broker.desk().queues()), 10)


def test_on_a_broker_of_one_host_neither_takes_part(url: str) -> None:
    node = Node(url, "only@a", broker=MemoryBroker)
    publish(node, task("id-1"))

    with node:
        wait_until(lambda: node.pool.held, 10)
        assert node.gossip is None


def test_both_can_be_switched_off(url: str) -> None:
    node = Node(url, "only@a", mingle=False, gossip=False)
    publish(node, task("id-1"))

    with node:
        wait_until(lambda: node.pool.held, 10)
        assert node.gossip is None
