"""What every broker promises to a worker, a producer and an operator."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from taskd.base.errors import BrokerError, LeaseLostError
from taskd.brokers.base import Broker, DeadFilter
from taskd.brokers.intake import Advancing
from taskd.brokers.kombu.broker import KombuBroker
from taskd.brokers.redis.broker import RedisBroker
from taskd.protocol.delivery import Ack, Dead, Delay, Outgoing, Replace, Requeue
from tests.contract.brokers import (
    EACH,
    OPENERS,
    SILENCE_S,
    Clock,
    Trait,
    as_object,
    bodies,
    fall_asleep,
    is_readable,
    message,
    needs,
    urgent,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=EACH)
def broker(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Broker]:
    opened = OPENERS[request.param](tmp_path, clock.timing)
    yield opened
    opened.close()


def send(broker: Broker, *messages: Outgoing) -> None:
    publisher = broker.publisher()
    publisher.publish(messages)
    publisher.close()


# -- claiming and settling -------------------------------------------------------------------


def test_a_message_arrives_with_everything_it_was_sent_with(broker: Broker) -> None:
    sent = Outgoing(
        routing_key="mail",
        headers=b'{"task": "t", "id": "1"}',
        body=b"\x00\xff raw",
        task_id="1",
        content_type="application/x-msgpack",
        content_encoding="binary",
        priority=4,
        reply_to="there",
        correlation_id="c",
        properties=b'{"app_id": "shop"}',
    )
    send(broker, sent)
    intake = broker.intake("w", ["mail"])

    (got,) = intake.claim(10)

    assert as_object(got.headers) == as_object(sent.headers)
    assert (got.body, got.task_id, got.queue) == (sent.body, "1", "mail")
    assert (got.content_type, got.content_encoding) == ("application/x-msgpack", "binary")
    assert (got.priority, got.reply_to, got.correlation_id) == (4, "there", "c")
    assert (got.exchange, got.routing_key) == ("", "mail")
    assert (got.deliveries, got.deaths) == (1, 0)
    assert as_object(got.properties or b"") == as_object(sent.properties or b"")


def test_an_empty_queue_gives_nothing(broker: Broker) -> None:
    assert list(broker.intake("w", ["mail"]).claim(10)) == []


def test_a_claim_of_zero_takes_nothing(broker: Broker) -> None:
    send(broker, message())
    intake = broker.intake("w", ["mail"])

    assert list(intake.claim(0)) == []
    assert intake.depth() == 1


def test_messages_come_in_the_order_in_which_they_were_sent(broker: Broker) -> None:
    needs(broker, Trait.FIFO)
    send(broker, *[message(str(number)) for number in range(20)])
    intake = broker.intake("w", ["mail"])

    assert bodies(intake.claim(15)) == [str(number) for number in range(15)]
    assert bodies(intake.claim(15)) == [str(number) for number in range(15, 20)]


def test_the_most_urgent_priority_comes_first_over_all_queues(broker: Broker) -> None:
    needs(broker, Trait.PRIORITIES)
    high, middle, low = urgent(broker)
    send(
        broker,
        message("low", "a", priority=low),
        message("high", "a", priority=high),
        message("middle", "a", priority=middle),
        message("late high", "b", priority=high),
    )

    assert bodies(broker.intake("w", ["a", "b"]).claim(10)) == ["high", "late high", "middle", "low"]


def test_a_batch_over_several_queues_leaves_the_rest_claimable(broker: Broker) -> None:
    needs(broker, Trait.ORDER)
    high, _, low = urgent(broker)
    send(broker, *[message(str(n), "abc"[n % 3], priority=high if n % 2 else low) for n in range(30)])
    intake = broker.intake("w", ["a", "b", "c"])

    claimed = [int(body) for _ in range(10) for body in bodies(intake.claim(4))]

    # Between queues of one priority the order is the broker's; within one it is that of arrival.
    for first, rest in ((1, claimed[:15]), (0, claimed[15:])):
        assert sorted(rest) == list(range(first, 30, 2))
        assert all(
            [n for n in rest if n % 3 == queue] == sorted(n for n in rest if n % 3 == queue)
            for queue in range(3)
        )


def test_only_the_named_queues_are_claimed_from(broker: Broker) -> None:
    send(broker, message("mine", "a"), message("other", "b"))

    assert bodies(broker.intake("w", ["a"]).claim(10)) == ["mine"]


def test_a_priority_beyond_the_range_counts_as_its_end(broker: Broker) -> None:
    send(broker, message("nine", priority=9), message("beyond", priority=99), message("below", priority=-5))

    assert sorted(delivery.priority for delivery in broker.intake("w", ["mail"]).claim(10)) == [0, 9, 9]


def test_a_claimed_message_is_not_handed_out_again(broker: Broker) -> None:
    send(broker, message())
    broker.intake("one", ["mail"]).claim(1)

    assert list(broker.intake("two", ["mail"]).claim(10)) == []


def test_an_acknowledged_message_never_comes_back(broker: Broker) -> None:
    send(broker, message())
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)

    assert list(intake.settle([Ack(delivery.tag)])) == []
    intake.close()

    assert list(broker.intake("w", ["mail"]).claim(1)) == []


def test_an_unknown_tag_is_refused_and_the_others_are_settled(broker: Broker) -> None:
    send(broker, message("a"), message("b"))
    intake = broker.intake("w", ["mail"])
    first, second = intake.claim(2)

    refused = intake.settle([Ack(first.tag), Ack(987654), Ack(second.tag), Requeue(876543)])

    assert sorted(refused) == [876543, 987654]
    intake.close()
    assert list(broker.intake("w", ["mail"]).claim(2)) == []


def test_a_tag_is_refused_the_second_time(broker: Broker) -> None:
    send(broker, message())
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)

    assert list(intake.settle([Ack(delivery.tag), Ack(delivery.tag)])) == [delivery.tag]
    assert list(intake.settle([Requeue(delivery.tag)])) == [delivery.tag]


def test_a_late_settlement_never_hits_a_newer_message(broker: Broker) -> None:
    send(broker, message("old"))
    intake = broker.intake("w", ["mail"])
    (old,) = intake.claim(1)
    intake.settle([Ack(old.tag)])
    send(broker, message("new"))
    (new,) = intake.claim(1)

    assert new.tag != old.tag
    assert list(intake.settle([Ack(old.tag)])) == [old.tag]


def test_a_requeued_message_keeps_its_place_and_counts_its_delivery(broker: Broker) -> None:
    needs(broker, Trait.PLACES)
    send(broker, message("first"), message("second"))
    intake = broker.intake("w", ["mail"])
    (first,) = intake.claim(1)

    intake.settle([Requeue(first.tag)])

    assert [(d.body, d.deliveries) for d in intake.claim(2)] == [(b"first", 2), (b"second", 1)]


def test_a_message_returned_unstarted_does_not_count_its_delivery(broker: Broker) -> None:
    needs(broker, Trait.RETURNS)
    send(broker, message())
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)

    intake.settle([Requeue(delivery.tag, started=False)])

    assert intake.claim(1)[0].deliveries == 1


def test_a_death_is_counted(broker: Broker) -> None:
    send(broker, message())
    intake = broker.intake("w", ["mail"])
    for deaths in range(3):
        (delivery,) = intake.claim(1)
        assert delivery.deaths == deaths
        intake.settle([Requeue(delivery.tag, died=True)])


def test_the_death_that_buries_a_message_is_counted_too(broker: Broker) -> None:
    send(broker, message())
    intake = broker.intake("w", ["mail"])
    intake.settle([Requeue(intake.claim(1)[0].tag, died=True)])

    intake.settle([Dead(intake.claim(1)[0].tag, "died twice", died=True)])

    assert broker.desk().dead_letters()[0].deaths == 2


def test_a_large_batch_is_settled_at_once(broker: Broker) -> None:
    send(broker, *[message() for _ in range(3000)])
    intake = broker.intake("w", ["mail"])
    claimed = intake.claim(3000)

    assert list(intake.settle([Ack(delivery.tag) for delivery in claimed])) == []
    assert broker.desk().queues()[0].claimed == 0


# -- leases ------------------------------------------------------------------------------------


def test_a_claim_whose_lease_ran_out_goes_to_the_next_claimer(broker: Broker, clock: Clock) -> None:
    needs(broker, Trait.LEASES)
    send(broker, message())
    silent = broker.intake("silent", ["mail"], lease_s=10.0)
    (lost,) = silent.claim(1)
    other = broker.intake("other", ["mail"], lease_s=10.0)

    clock.advance(9.0)
    other.renew()
    assert list(other.claim(1)) == []
    clock.advance(2.0)
    (taken,) = other.claim(1)

    assert (taken.body, taken.deliveries) == (lost.body, 2)
    assert list(silent.settle([Ack(lost.tag)])) == [lost.tag]
    with pytest.raises(LeaseLostError, match="silent"):
        silent.claim(1)
    with pytest.raises(LeaseLostError):
        silent.renew()


def test_a_renewed_lease_keeps_its_claims(broker: Broker, clock: Clock) -> None:
    send(broker, message())
    intake = broker.intake("w", ["mail"], lease_s=10.0)
    (delivery,) = intake.claim(1)
    other = broker.intake("other", ["mail"], lease_s=10.0)

    for _ in range(10):
        clock.advance(5.0)
        intake.renew()
        other.renew()
        assert list(other.claim(1)) == []

    assert list(intake.settle([Ack(delivery.tag)])) == []


def test_a_jump_of_the_wall_clock_ends_no_lease(broker: Broker, clock: Clock) -> None:
    send(broker, message())
    broker.intake("w", ["mail"]).claim(1)
    other = broker.intake("other", ["mail"])

    clock.now_at += 1_000_000.0

    assert list(other.claim(1)) == []


def test_a_second_generation_fences_off_the_first(broker: Broker) -> None:
    needs(broker, Trait.LEASES)
    send(broker, message())
    first = broker.intake("w", ["mail"])
    (delivery,) = first.claim(1)

    second = broker.intake("w", ["mail"])

    assert list(first.settle([Ack(delivery.tag)])) == [delivery.tag]
    with pytest.raises(LeaseLostError, match="w"):
        first.claim(1)
    with pytest.raises(LeaseLostError):
        first.renew()
    (again,) = second.claim(1)
    assert (again.body, again.deliveries) == (delivery.body, 2)


def test_a_fenced_generation_that_closes_takes_nothing_from_its_successor(broker: Broker) -> None:
    needs(broker, Trait.LEASES)
    send(broker, message())
    first = broker.intake("w", ["mail"])
    second = broker.intake("w", ["mail"])
    (delivery,) = second.claim(1)

    first.close()

    assert list(second.settle([Ack(delivery.tag)])) == []


def test_a_takeover_wakes_the_other_workers(broker: Broker) -> None:
    needs(broker, Trait.LEASES)
    send(broker, message())
    broker.intake("w", ["mail"]).claim(1)
    other = broker.intake("other", ["mail"])
    fall_asleep(other)

    broker.intake("w", ["elsewhere"])

    assert is_readable(other)
    assert bodies(other.claim(1)) == ["x"]


def test_closing_returns_claims_unstarted_and_wakes_others(broker: Broker) -> None:
    needs(broker, Trait.RETURNS)
    send(broker, message())
    intake = broker.intake("w", ["mail"])
    intake.claim(1)
    other = broker.intake("other", ["mail"])
    fall_asleep(other)

    intake.close()
    intake.close()

    assert is_readable(other)
    assert other.claim(1)[0].deliveries == 1


# -- delayed messages --------------------------------------------------------------------------


def test_a_delayed_message_waits_until_it_is_due(broker: Broker, clock: Clock) -> None:
    send(broker, message("later", due_at=clock.now_at + 60.0), message("now"))
    intake = broker.intake("w", ["mail"])

    assert bodies(intake.claim(10)) == ["now"]
    assert intake.next_due_at() == clock.now_at + 60.0
    clock.advance(60.0)
    intake.renew()

    assert intake.depth() == 1
    assert bodies(intake.claim(10)) == ["later"]
    assert intake.next_due_at() is None


def test_a_message_due_in_the_past_is_there_at_once(broker: Broker, clock: Clock) -> None:
    send(broker, message(due_at=clock.now_at - 1.0))

    assert bodies(broker.intake("w", ["mail"]).claim(1)) == ["x"]


def test_delayed_messages_are_listed_soonest_first_and_stay_unclaimed(broker: Broker, clock: Clock) -> None:
    send(broker, *[message(str(s), "ab"[s % 2], due_at=clock.now_at + s) for s in (30, 15, 20, 5)])
    intake = broker.intake("w", ["a", "b"])

    listed = intake.scheduled(3)

    assert [(due_at - clock.now_at, delivery.body) for due_at, delivery in listed] == [
        (5.0, b"5"),
        (15.0, b"15"),
        (20.0, b"20"),
    ]
    assert intake.depth() == 0
    assert len(intake.scheduled(100)) == 4


def test_a_message_that_comes_after_the_queue_was_emptied_wakes_again(broker: Broker) -> None:
    intake = broker.intake("w", ["mail"])
    fall_asleep(intake)
    for text in ("a", "b", "c"):
        send(broker, message(text))
        assert is_readable(intake)
        while is_readable(intake, 0.05):
            intake.clear_wakeups()
            intake.claim(10)


def test_delayed_messages_can_be_made_to_come_sooner(broker: Broker, clock: Clock) -> None:
    send(broker, *[message(str(s), due_at=clock.now_at + s) for s in (5, 15, 30)])
    intake = broker.intake("w", ["mail"])
    if not isinstance(intake, Advancing):
        pytest.skip("this broker cannot")
    needs(broker, Trait.FIFO)
    first, second, third = intake.scheduled(3)
    fall_asleep(intake)

    intake.advance([third, first, third], clock.now_at)

    assert is_readable(intake)
    assert bodies(intake.claim(10)) == ["5", "30"]
    assert intake.scheduled(3) == [second]
    intake.advance([first], clock.now_at)  # it is claimed, and not there any more
    assert list(intake.claim(10)) == []


def test_a_delay_puts_a_claim_off(broker: Broker, clock: Clock) -> None:
    send(broker, message())
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)

    intake.settle([Delay(delivery.tag, clock.now_at + 5.0)])

    assert list(intake.claim(1)) == []
    clock.advance(5.0)
    assert intake.claim(1)[0].deliveries == 1


def test_a_delayed_message_wakes_the_worker_to_set_its_timer(broker: Broker, clock: Clock) -> None:
    intake = broker.intake("w", ["mail"])
    fall_asleep(intake)

    send(broker, message(due_at=clock.now_at + 60.0))

    assert is_readable(intake)


def test_many_messages_due_at_once_all_come(broker: Broker, clock: Clock) -> None:
    needs(broker, Trait.FIFO)
    send(broker, *[message(str(n), due_at=clock.now_at + 1.0) for n in range(2500)])
    intake = broker.intake("w", ["mail"])
    clock.advance(2.0)

    claimed: list[str] = []
    while batch := intake.claim(500):
        claimed += bodies(batch)

    assert claimed == [str(n) for n in range(2500)]


# -- retries and dead letters ------------------------------------------------------------------


def test_a_replacement_takes_the_place_of_the_claim(broker: Broker, clock: Clock) -> None:
    send(broker, message("first try"))
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)

    refused = intake.settle([Replace(delivery.tag, message("second try", due_at=clock.now_at + 1.0))])

    assert list(refused) == []
    clock.advance(1.0)
    (again,) = intake.claim(10)
    assert (again.body, again.deliveries) == (b"second try", 1)


def test_a_refused_replacement_publishes_nothing(broker: Broker) -> None:
    needs(broker, Trait.LEASES)
    send(broker, message())
    first = broker.intake("w", ["mail"])
    (delivery,) = first.claim(1)
    second = broker.intake("w", ["mail"])

    assert list(first.settle([Replace(delivery.tag, message("retry"))])) == [delivery.tag]
    assert bodies(second.claim(10)) == ["x"]


def test_a_dead_letter_is_kept_with_its_evidence(broker: Broker, clock: Clock) -> None:
    send(broker, Outgoing(routing_key="mail", headers=b'{"id": "7"}', body=b"[]", task_id="7"))
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)

    intake.settle([Dead(delivery.tag, "unknown task", b'{"task": "t"}')])

    desk = broker.desk()
    (letter,) = desk.dead_letters()
    assert (letter.queue, letter.task_id, letter.reason) == ("mail", "7", "unknown task")
    assert (letter.died_at, letter.deaths, letter.task) == (clock.now_at, 0, "")
    dead = desk.dead_letter(letter.id)
    assert dead is not None
    assert dead.letter == letter
    assert (dead.evidence, dead.body) == (b'{"task": "t"}', b"[]")
    assert as_object(dead.headers) == as_object(b'{"id": "7"}')
    assert (dead.content_type, dead.content_encoding) == ("application/json", "utf-8")
    assert desk.dead_letter(letter.id + 1) is None
    assert list(intake.claim(1)) == []


def bury(broker: Broker, clock: Clock, *messages: Outgoing) -> list[int]:
    """Make a dead letter of each message, a second apart; return their ids."""
    send(broker, *messages)
    intake = broker.intake("w", ["a", "b"])
    # Between queues the order is the broker's own.
    claimed = sorted(intake.claim(len(messages)), key=lambda delivery: delivery.body)
    for delivery in claimed:
        clock.advance(1.0)
        intake.settle([Dead(delivery.tag, f"bad {delivery.body.decode()}")])
    return [delivery.tag for delivery in claimed]


def named(text: str, queue: str, task: str) -> Outgoing:
    headers = msgspec.json.encode({"lang": "py", "task": task})
    return msgspec.structs.replace(message(text, queue), headers=headers)


def test_dead_letters_are_listed_newest_first_by_task_queue_time_and_id(broker: Broker, clock: Clock) -> None:
    began_at = clock.now_at
    one, two, three = bury(broker, clock, named("1", "a", "t"), named("2", "b", "t"), named("3", "a", "u"))
    desk = broker.desk()

    def found(limit: int = 100, **which: object) -> list[str]:
        letters = desk.dead_letters(DeadFilter(**which), limit)  # type: ignore[arg-type]
        assert [letter.id for letter in letters] == list(desk.dead_ids(DeadFilter(**which)))[::-1][:limit]  # type: ignore[arg-type]
        return [letter.reason for letter in letters]

    assert found() == ["bad 3", "bad 2", "bad 1"]
    assert found(limit=1) == ["bad 3"]
    assert found(queue="a") == ["bad 3", "bad 1"]
    assert found(task="t") == ["bad 2", "bad 1"]
    assert found(task="t", queue="a") == ["bad 1"]
    assert found(since_at=began_at + 2.0) == ["bad 3", "bad 2"]
    assert found(ids=[three, one, 424242]) == ["bad 3", "bad 1"]
    assert found(ids=[two], queue="a") == []
    assert found(ids=[]) == []
    assert [letter.task for letter in desk.dead_letters()] == ["u", "t", "t"]


@pytest.mark.parametrize(
    ("headers", "task"),
    [
        (b"", ""),
        (b"\xff\x00", ""),
        (b'"task"', ""),
        (b'{"task": 7}', ""),
        (b'{"task": "\xff"}', ""),
        (b'{"task": "\\ud800"}', "\\ud800"),
        (b'{"task": "t", "user": NaN}', "t"),
        (b'{"task": "\\u0000\x1b"}', ""),
        (b'{"task": "t", "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
    ],
)
def test_a_message_with_any_headers_can_be_buried_and_listed(
    broker: Broker, headers: bytes, task: str
) -> None:
    try:
        send(broker, msgspec.structs.replace(message(), headers=headers))
    except BrokerError:
        assert isinstance(broker, (RedisBroker, KombuBroker)), (
            "its envelope is JSON, and refuses what is none"
        )
        return
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)

    assert list(intake.settle([Dead(delivery.tag, "cannot be read: \ud800")])) == []

    (letter,) = broker.desk().dead_letters()
    assert (letter.task, letter.reason) == (task, "cannot be read: \\ud800")
    dead = broker.desk().dead_letter(letter.id)
    assert dead is not None
    assert as_object(dead.headers) == as_object(headers)


def test_a_requeued_dead_letter_starts_anew(broker: Broker) -> None:
    send(broker, message(priority=3))
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)
    intake.settle([Requeue(delivery.tag, died=True)])
    (delivery,) = intake.claim(1)
    intake.settle([Dead(delivery.tag, "bad")])
    fall_asleep(intake)
    desk = broker.desk()

    assert desk.requeue_dead(desk.dead_ids()) == 1
    assert desk.requeue_dead([delivery.tag]) == 0

    assert is_readable(intake)
    (again,) = intake.claim(1)
    assert (again.deliveries, again.deaths, again.priority) == (1, 0, 3)
    assert list(desk.dead_letters()) == []


def test_dead_letters_are_purged_by_id(broker: Broker) -> None:
    send(broker, *[message() for _ in range(3)])
    intake = broker.intake("w", ["mail"])
    claimed = intake.claim(3)
    intake.settle([Dead(delivery.tag, "bad") for delivery in claimed])
    desk = broker.desk()

    assert desk.purge_dead([claimed[0].tag, 424242]) == 1
    assert len(desk.dead_letters()) == 2
    assert desk.purge_dead(desk.dead_ids()) == 2
    assert list(desk.dead_letters()) == []
    assert desk.dead_letter(claimed[1].tag) is None


# -- the desk ----------------------------------------------------------------------------------


def test_the_desk_counts_each_condition(broker: Broker, clock: Clock) -> None:
    needs(broker, Trait.COUNTS)
    send(broker, *[message() for _ in range(4)], message(due_at=clock.now_at + 9.0), message("y", "other"))
    intake = broker.intake("w", ["mail"])
    first = intake.claim(2)[0]
    intake.settle([Dead(first.tag, "bad")])

    mail, other = broker.desk().queues()

    assert (mail.name, mail.ready, mail.delayed, mail.claimed, mail.dead) == ("mail", 2, 1, 1, 1)
    assert (other.name, other.ready) == ("other", 1)


def test_a_purge_spares_the_claimed(broker: Broker, clock: Clock) -> None:
    needs(broker, Trait.COUNTS)
    send(broker, message("claimed"), message("ready"), message("delayed", due_at=clock.now_at + 1.0))
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)

    assert broker.desk().purge("mail") == 2
    assert broker.desk().purge("no such queue") == 0

    assert list(intake.settle([Ack(delivery.tag)])) == []
    clock.advance(2.0)
    assert list(intake.claim(1)) == []


# -- queues of an intake -----------------------------------------------------------------------


def test_queues_are_added_and_cancelled_at_run_time(broker: Broker) -> None:
    intake = broker.intake("w", ["a"])
    send(broker, message("in b", "b"))

    intake.add_queue("b")
    assert tuple(intake.queues()) == ("a", "b")
    assert is_readable(intake)
    assert bodies(intake.claim(1)) == ["in b"]
    intake.cancel_queue("b")
    send(broker, message("also in b", "b"), message("in a", "a"))

    assert bodies(intake.claim(10)) == ["in a"]
    assert tuple(intake.queues()) == ("a",)


def test_an_intake_without_queues_claims_nothing(broker: Broker) -> None:
    intake = broker.intake("w", ["a"])
    intake.cancel_queue("a")

    assert list(intake.claim(5)) == []
    assert (intake.depth(), intake.next_due_at(), list(intake.scheduled(5))) == (0, None, [])


def test_an_added_queue_wakes_for_what_comes_later(broker: Broker) -> None:
    intake = broker.intake("w", ["a"])
    intake.add_queue("b")
    fall_asleep(intake)

    send(broker, message("x", "b"))

    assert is_readable(intake)


def test_a_message_for_another_queue_wakes_nobody(broker: Broker) -> None:
    needs(broker, Trait.WAKES)
    intake = broker.intake("w", ["a"])
    fall_asleep(intake)

    send(broker, message("x", "b"))

    assert not is_readable(intake, SILENCE_S)


# -- exchanges and mailboxes -------------------------------------------------------------------


def test_a_fanout_reaches_every_mailbox(broker: Broker) -> None:
    needs(broker, Trait.WAKES)
    boxes = [broker.mailbox(f"box{number}", "everyone", "fanout") for number in range(3)]

    send(broker, message("hello", "", exchange="everyone"))

    for box in boxes:
        assert is_readable(box)
        (delivery,) = box.receive()
        assert (delivery.body, delivery.exchange) == (b"hello", "everyone")
        assert list(box.receive()) == []
        assert not is_readable(box, SILENCE_S)


def test_a_direct_exchange_delivers_by_the_exact_key(broker: Broker) -> None:
    needs(broker, Trait.BINDINGS)
    mine = broker.mailbox("mine", "replies", "direct", "key-1")
    other = broker.mailbox("other", "replies", "direct", "key-2")

    send(broker, message("for me", "key-1", exchange="replies"))

    assert bodies(mine.receive()) == ["for me"]
    assert list(other.receive()) == []


def test_a_topic_exchange_delivers_by_pattern(broker: Broker) -> None:
    needs(broker, Trait.FIFO)
    workers = broker.mailbox("workers", "events", "topic", "worker.*")
    everything = broker.mailbox("everything", "events", "topic", "#")

    send(
        broker,
        message("up", "worker.online", exchange="events"),
        message("done", "task.succeeded", exchange="events"),
    )

    assert bodies(workers.receive()) == ["up"]
    assert bodies(everything.receive()) == ["up", "done"]


def test_a_message_that_matches_no_binding_goes_nowhere(broker: Broker) -> None:
    box = broker.mailbox("box", "replies", "direct", "key")

    send(broker, message("lost", "other", exchange="replies"), message("lost", "x", exchange="no such"))

    assert list(box.receive()) == []
    assert list(broker.desk().queues()) == []


def test_a_mailbox_gets_what_is_sent_to_its_queue_directly(broker: Broker) -> None:
    box = broker.mailbox("box", "everyone", "fanout")

    send(broker, message("direct", "box"))

    assert bodies(box.receive()) == ["direct"]


def test_a_closed_mailbox_is_gone(broker: Broker) -> None:
    needs(broker, Trait.EXCHANGES)
    box = broker.mailbox("box", "everyone", "fanout")
    send(broker, message("unread", "", exchange="everyone"))

    box.close()
    box.close()
    send(broker, message("for nobody", "", exchange="everyone"))

    again = broker.mailbox("box", "everyone", "fanout")
    assert list(again.receive()) == []


def test_a_mailbox_of_the_same_name_takes_over_without_old_messages(broker: Broker) -> None:
    needs(broker, Trait.BINDINGS)
    broker.mailbox("box", "everyone", "fanout")
    send(broker, message("old", "", exchange="everyone"))

    box = broker.mailbox("box", "everyone", "fanout")
    send(broker, message("new", "", exchange="everyone"))

    assert bodies(box.receive()) == ["new"]


def test_an_exchange_of_another_type_is_refused(broker: Broker) -> None:
    needs(broker, Trait.EXCHANGES)
    broker.mailbox("box", "everyone", "fanout")

    with pytest.raises(BrokerError, match=r"everyone.*fanout"):
        broker.mailbox("box2", "everyone", "topic")


def test_mailboxes_are_not_listed_among_the_queues(broker: Broker) -> None:
    broker.mailbox("box", "everyone", "fanout")
    broker.intake("w", ["mail"])

    assert [queue.name for queue in broker.desk().queues()] == ["mail"]


# -- wake-ups and threads ----------------------------------------------------------------------


def test_a_publication_makes_the_descriptor_readable_until_cleared(broker: Broker) -> None:
    needs(broker, Trait.WAKES)
    intake = broker.intake("w", ["mail"])
    fall_asleep(intake)
    assert not is_readable(intake, SILENCE_S)

    for _ in range(50):
        send(broker, message())

    assert is_readable(intake)
    intake.clear_wakeups()
    assert not is_readable(intake, SILENCE_S)


def test_threads_that_publish_at_the_same_time_lose_nothing(broker: Broker) -> None:
    needs(broker, Trait.FIFO)
    publisher = broker.publisher()

    def publish(name: str) -> None:
        for number in range(50):
            publisher.publish([message(f"{name}{number}")])

    threads = [threading.Thread(target=publish, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    received = bodies(broker.intake("w", ["mail"]).claim(1000))
    assert len(received) == len(set(received)) == 200
    assert [body for body in received if body[0] == "a"] == [f"a{number}" for number in range(50)]
