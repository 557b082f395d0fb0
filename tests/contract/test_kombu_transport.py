"""The embedded broker as kombu and Celery clients see it, and beside our own publisher and intake."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import ChannelError, OperationalError
from kombu.messaging import Consumer, Producer
from kombu.pidbox import Mailbox

from taskd.base import clock
from taskd.base.errors import BrokerError, StorageError
from taskd.brokers.factory import connect
from taskd.brokers.kombu_client.channel import Channel
from taskd.brokers.kombu_client.connection import kombu_connection
from taskd.brokers.kombu_client.transport import SqliteTransport
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.config.stores import Stores
from taskd.protocol.delivery import Ack, Delivery, Outgoing, Requeue
from taskd.protocol.message import decode_headers
from tests.contract.brokers import bodies, is_readable, message

HEADERS = {"lang": "py", "task": "shop.add", "id": "id-1", "retries": 0, "eta": None, "argsrepr": "(2, 3)"}
BODY = [[2, 3], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/broker.db"


@pytest.fixture
def broker(url: str) -> Iterator[SqliteBroker]:
    opened = connect(url, Stores())
    assert isinstance(opened, SqliteBroker)
    yield opened
    opened.close()


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    with kombu_connection(url, Stores()) as opened:
        yield opened


def publish_task(connection: Connection, **more: Any) -> None:
    """Publish as Celery does: task protocol 2 through kombu's producer."""
    queue = Queue("mail", Exchange("mail"), routing_key="mail")
    Producer(connection).publish(
        BODY,
        exchange=more.pop("exchange", "mail"),
        routing_key="mail",
        serializer="json",
        headers=HEADERS,
        declare=[queue],
        correlation_id="id-1",
        reply_to="reply-queue",
        delivery_mode=2,
        **more,
    )


def drain(connection: Connection, queue: Queue, **more: Any) -> list[Any]:
    """Return what a consumer gets until nothing comes any more."""
    got: list[Any] = []
    with Consumer(connection, [queue], on_message=got.append, **more):
        try:
            while True:
                connection.drain_events(timeout=0.02)
        except TimeoutError:
            return got


def test_a_task_of_a_celery_client_arrives_at_our_intake(
    connection: Connection, broker: SqliteBroker
) -> None:
    publish_task(connection, priority=7)

    (got,) = broker.intake("w", ["mail"]).claim(10)

    assert json.loads(got.headers) == HEADERS
    assert json.loads(got.body) == BODY
    assert (got.task_id, got.content_type, got.content_encoding) == ("id-1", "application/json", "utf-8")
    assert (got.reply_to, got.correlation_id, got.priority) == ("reply-queue", "id-1", 7)
    assert (got.exchange, got.routing_key) == ("mail", "mail")


def test_a_task_of_ours_arrives_at_a_kombu_consumer(connection: Connection, broker: SqliteBroker) -> None:
    broker.publisher().publish(
        [
            Outgoing(
                routing_key="mail",
                headers=json.dumps(HEADERS).encode(),
                body=json.dumps(BODY).encode(),
                task_id="id-1",
                priority=5,
                reply_to="there",
                correlation_id="c",
            )
        ]
    )

    (got,) = drain(connection, Queue("mail"))

    assert (got.headers, got.payload) == (HEADERS, BODY)
    assert (got.properties["reply_to"], got.properties["correlation_id"]) == ("there", "c")
    assert got.properties["priority"] == 5
    assert got.delivery_info["routing_key"] == "mail"
    assert not got.delivery_info["redelivered"]


@pytest.mark.parametrize("body", [b"\x00\xff\x80", "héllo", {"a": [1, None]}])
def test_any_body_survives_the_way_from_kombu_to_kombu(connection: Connection, body: object) -> None:
    Producer(connection).publish(body, routing_key="q", declare=[Queue("q")], expiration=60, message_id="m")

    (got,) = drain(connection, Queue("q"), accept=["json", "text/plain", "application/data"])

    assert got.payload == body
    assert got.properties["message_id"] == "m"
    assert got.properties["delivery_mode"] == 2


def test_a_compressed_message_survives(connection: Connection) -> None:
    Producer(connection).publish({"a": "b" * 1000}, routing_key="q", compression="zlib")

    (got,) = drain(connection, Queue("q"))

    assert got.payload == {"a": "b" * 1000}


def test_an_acknowledged_message_is_gone_and_another_comes_back(
    connection: Connection, broker: SqliteBroker
) -> None:
    broker.publisher().publish([message("acked"), message("kept")])
    acked, kept = drain(connection, Queue("mail"), accept=["json"])

    acked.ack()
    connection.release()

    (again,) = broker.intake("w", ["mail"]).claim(10)
    assert (again.body, again.deliveries) == (kept.body, 2)


def test_a_requeued_message_is_delivered_again_and_says_so(
    connection: Connection, broker: SqliteBroker
) -> None:
    broker.publisher().publish([message()])
    (first,) = drain(connection, Queue("mail"))
    assert drain(connection, Queue("mail")) == []

    first.requeue()

    (second,) = drain(connection, Queue("mail"))
    assert second.delivery_info["redelivered"]


def test_a_rejected_message_is_a_dead_letter(connection: Connection, broker: SqliteBroker) -> None:
    broker.publisher().publish([message("bad")])
    (got,) = drain(connection, Queue("mail"))

    got.reject()

    (letter,) = broker.desk().dead_letters()
    buried = broker.desk().dead_letter(letter.id)
    assert buried is not None
    assert buried.body == b"bad"


def test_a_message_claimed_by_kombu_is_not_claimed_by_us_and_the_other_way(
    connection: Connection, broker: SqliteBroker
) -> None:
    broker.publisher().publish([message("one"), message("two")])
    intake = broker.intake("w", ["mail"])

    (ours,) = intake.claim(1)
    (theirs,) = drain(connection, Queue("mail"))

    assert (ours.body, theirs.body) == (b"one", b"two")
    assert list(intake.claim(10)) == []
    intake.settle([Requeue(ours.tag)])
    assert bodies(drain(connection, Queue("mail"))) == ["one"]


def test_a_message_that_needs_no_ack_leaves_nothing_behind(
    connection: Connection, broker: SqliteBroker
) -> None:
    broker.publisher().publish([message()])

    assert len(drain(connection, Queue("mail"), no_ack=True)) == 1

    (mail,) = broker.desk().queues()
    assert (mail.ready, mail.claimed) == (0, 0)


def test_the_prefetch_count_is_kept(connection: Connection, broker: SqliteBroker) -> None:
    broker.publisher().publish([message(str(number)) for number in range(5)])

    assert len(drain(connection, Queue("mail"), prefetch_count=2)) == 2


def test_get_takes_one_message_or_none(connection: Connection, broker: SqliteBroker) -> None:
    queue = Queue("mail")(connection.default_channel)
    queue.declare()
    assert queue.get() is None
    broker.publisher().publish([message("a"), message("b")])

    queue.get().ack()
    assert queue.get(no_ack=True).body == b"b"
    assert queue.get() is None


def test_queues_are_declared_counted_purged_and_deleted(connection: Connection, broker: SqliteBroker) -> None:
    queue = Queue("mail", Exchange("mail"), routing_key="mail")(connection.default_channel)
    queue.declare()
    broker.publisher().publish([message("a"), message("b", "mail", exchange="mail")])

    assert queue.queue_declare(passive=True).message_count == 2
    assert queue.purge() == 2
    queue.delete()

    with pytest.raises(ChannelError, match="NOT_FOUND"):
        queue.queue_declare(passive=True)
    assert list(broker.desk().queues()) == []


@pytest.mark.parametrize(("own", "lives_s"), [(None, 60.0), (30.0, 30.0), (90.0, 60.0)])
def test_the_expiration_of_a_task_is_that_of_the_message_if_that_is_earlier(
    connection: Connection, broker: SqliteBroker, own: float | None, lives_s: float
) -> None:
    expires = None if own is None else clock.iso(clock.now() + own)
    began = clock.now()
    producer = Producer(connection)
    headers = {**HEADERS, "expires": expires}
    producer.publish(BODY, routing_key="mail", headers=headers, expiration=60.0, declare=[Queue("mail")])

    (delivery,) = broker.intake("w", ["mail"]).claim(1)

    expires_at = decode_headers(delivery.headers).expires_at
    assert expires_at is not None
    assert began + lives_s - 1 < expires_at < clock.now() + lives_s + 1


def test_a_time_to_live_that_cannot_be_kept_is_refused(connection: Connection) -> None:
    channel = connection.channel()
    with pytest.raises(ChannelError, match="x-message-ttl"):
        Queue("short", message_ttl=5.0, channel=channel).declare()
    # Remote control of Celery gives its reply queues one, and they go away by themselves.
    Queue("reply", message_ttl=5.0, expires=5.0, durable=False, auto_delete=True, channel=channel).declare()


def test_an_unbound_queue_gets_nothing_more(connection: Connection) -> None:
    exchange = Exchange("ex")
    queue = Queue("q", exchange, routing_key="k")(connection.default_channel)
    queue.declare()
    assert ("q", "ex", "k") in list(connection.default_channel.list_bindings())

    queue.unbind_from(exchange, routing_key="k")
    Producer(connection).publish("x", exchange="ex", routing_key="k")

    assert queue.get() is None


def test_an_exchange_that_is_not_there_is_reported(connection: Connection) -> None:
    with pytest.raises(ChannelError, match="no exchange 'nowhere'"):
        Exchange("nowhere", passive=True)(connection.default_channel).declare()
    with pytest.raises(BrokerError, match=r"headers.*not supported"):
        Exchange("h", type="headers")(connection.default_channel).declare()


@pytest.mark.parametrize("kind", ["fanout", "topic"])
def test_exchanges_reach_kombu_queues_and_our_mailboxes(
    connection: Connection, broker: SqliteBroker, kind: str
) -> None:
    exchange = Exchange("events", type=kind, durable=False)
    queue = Queue("kombu-box", exchange, routing_key="task.#", auto_delete=True, durable=False)
    box = broker.mailbox("our-box", "events", kind, "task.#")  # type: ignore[arg-type]
    bound = queue(connection.default_channel)
    bound.declare()

    Producer(connection).publish({"by": "kombu"}, exchange=exchange, routing_key="task.sent")
    broker.publisher().publish([message('{"by": "us"}', "task.sent", exchange="events")])

    assert [json.loads(delivery.body) for delivery in box.receive()] == [{"by": "kombu"}, {"by": "us"}]
    assert [got.payload for got in drain(connection, queue, no_ack=True)] == [{"by": "kombu"}, {"by": "us"}]


def test_an_auto_delete_queue_goes_with_its_last_consumer(connection: Connection) -> None:
    queue = Queue("temporary", Exchange("x", type="fanout"), auto_delete=True, durable=False)
    drain(connection, queue)

    assert not connection.default_channel._has_queue("temporary")


def test_a_waiting_consumer_is_woken_by_a_publication(connection: Connection, broker: SqliteBroker) -> None:
    publisher = broker.publisher()
    got: list[Any] = []
    with Consumer(connection, [Queue("mail")], on_message=got.append, no_ack=True):
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.01)
        thread = threading.Thread(target=lambda: publisher.publish([message()]))
        thread.start()
        connection.drain_events(timeout=60.0)
        thread.join()

    assert len(got) == 1


def test_a_kombu_publication_wakes_our_intake(connection: Connection, broker: SqliteBroker) -> None:
    intake = broker.intake("w", ["mail"])
    intake.clear_wakeups()

    publish_task(connection)

    assert is_readable(intake)


def test_kombu_asks_and_our_mailbox_answers(connection: Connection, broker: SqliteBroker) -> None:
    """A client's pidbox call to a worker that has no kombu."""
    box = broker.mailbox("w@host.celery.pidbox", "celery.pidbox", "fanout")
    publisher = broker.publisher()

    def answer() -> None:
        received: list[Delivery] = []
        while not received and is_readable(box, within_s=60.0):
            received += box.receive()
        (delivery,) = received
        request = json.loads(delivery.body)
        publisher.publish(
            [
                Outgoing(
                    routing_key=request["reply_to"]["routing_key"],
                    exchange=request["reply_to"]["exchange"],
                    headers=json.dumps({"ticket": request["ticket"]}).encode(),
                    body=json.dumps({"w@host": {"ok": request["method"]}}).encode(),
                )
            ]
        )

    worker = threading.Thread(target=answer)
    worker.start()
    mailbox = Mailbox("celery", type="fanout", connection=connection, accept=["json"], serializer="json")
    replies = mailbox.multi_call("ping", timeout=60.0, limit=1)
    worker.join()

    assert replies == [{"w@host": {"ok": "ping"}}]


def test_a_kombu_node_answers_a_kombu_client(url: str, connection: Connection) -> None:
    ready = threading.Event()

    def serve() -> None:
        with kombu_connection(url, Stores()) as own:
            box = Mailbox("celery", type="fanout", connection=own, accept=["json"], serializer="json")
            node = box.Node("node@host", channel=own.channel())
            node.handlers["ping"] = lambda state, **kwargs: {"ok": "pong"}
            consumer = node.listen()
            ready.set()
            own.drain_events(timeout=60.0)
            consumer.cancel()

    server = threading.Thread(target=serve)
    server.start()
    assert ready.wait(60.0)
    mailbox = Mailbox("celery", type="fanout", connection=connection, accept=["json"], serializer="json")

    replies = mailbox.call(["node@host"], "ping", timeout=60.0)

    server.join()
    assert replies == [{"node@host": {"ok": "pong"}}]


def test_the_transport_is_named_in_a_kombu_connection(url: str, broker: SqliteBroker) -> None:
    broker.publisher().publish([message('"x"')])

    with Connection(url, transport=SqliteTransport, transport_options={"busy_timeout": 1.0}) as plain:
        assert plain.as_uri() == url
        queue = plain.SimpleQueue("mail")
        assert queue.get(timeout=60.0).payload == "x"
        queue.close()


def test_an_unusable_file_is_an_error_that_kombu_knows(tmp_path: Path) -> None:
    with kombu_connection(f"sqlite://{tmp_path}/no/such/directory/b.db", Stores()) as broken:
        with pytest.raises(OperationalError, match="does not exist; create it"):
            assert broken.default_channel
        assert StorageError in broken.connection_errors


def test_a_broker_of_one_process_has_no_kombu_connection() -> None:
    with pytest.raises(BrokerError, match=r"memory://.*supported: sqlite://"):
        kombu_connection("memory://", Stores())


def test_a_claim_of_ours_that_kombu_settles_late_is_refused(
    connection: Connection, broker: SqliteBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.publisher().publish([message()])
    (got,) = drain(connection, Queue("mail"))
    channel = connection.default_channel
    assert isinstance(channel, Channel)
    broker.intake(channel.link._owner_name, ["mail"])  # what an expired lease does: another generation
    (ours,) = broker.intake("w", ["mail"]).claim(1)

    got.ack()

    assert "settlement refused" in caplog.text
    assert ours.deliveries == 2
    assert list(broker.intake("w2", ["mail"]).settle([Ack(ours.tag)])) == [ours.tag]
