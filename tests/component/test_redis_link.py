"""One connection to Redis: what comes back for what was sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from taskd.base.errors import StorageError
from taskd.storage.redis.address import address_of
from taskd.storage.redis.link import RedisLink, Script
from taskd.storage.redis.subscription import Subscription
from tests.services import redis_database
from tests.waiting import wait_until

FIVE = Script("return ARGV[1] + 5")


@pytest.fixture
def link() -> Iterator[RedisLink]:
    with closing(RedisLink(address_of(redis_database(), timeout_s=20.0, master=""))) as opened:
        yield opened


def error_of(call: Callable[[], object]) -> str:
    """Return what a call says that fails; no text for one that does not."""
    try:
        call()
    except StorageError as error:
        return str(error)
    return ""


def test_replies_come_in_the_order_of_their_commands_and_errors_in_their_places(link: RedisLink) -> None:
    replies = link.replies([("SET", "key", "text"), ("LPUSH", "key", 1), ("GET", "key"), ("NONE",)])

    assert (replies[0], replies[2]) == (b"OK", b"text")
    assert "wrong kind of value" in str(replies[1])
    assert "unknown command" in str(replies[3])
    assert link.opened == 1


def test_what_is_larger_than_any_buffer_goes_there_and_back(link: RedisLink) -> None:
    large = bytes(range(256)) * 20_000

    replies = link.pipeline([("SET", "key", large), ("GET", "key"), ("ECHO", "after")])

    assert replies == [b"OK", large, b"after"]


def test_numbers_text_and_bytes_are_sent_as_redis_writes_them(link: RedisLink) -> None:
    link.call("RPUSH", "key", 7, 0.25, "ü", b"\xff\x00")

    assert link.call("LRANGE", "key", 0, -1) == [b"7", b"0.25", "ü".encode(), b"\xff\x00"]


def test_a_transaction_that_fails_in_part_is_an_error(link: RedisLink) -> None:
    link.call("SET", "key", "text")

    with pytest.raises(StorageError, match="wrong kind of value"):
        link.pipeline([("MULTI",), ("LPUSH", "key", 1), ("EXEC",)])


def test_a_forgotten_script_is_sent_again_among_other_commands(link: RedisLink) -> None:
    link.call("SCRIPT", "FLUSH")

    assert link.pipeline([("ECHO", "a"), FIVE.call((), (2,)), ("ECHO", "b")], (FIVE,)) == [b"a", 7, b"b"]


def test_a_login_that_the_server_takes_back_is_asked_for_anew(link: RedisLink) -> None:
    link.call("ACL", "SETUSER", "gone", "on", "nopass", "+@all", "~*")
    address = address_of(link.address.shown.replace("//", "//gone:any@"), timeout_s=20.0, master="")
    with closing(RedisLink(address)) as other:
        assert other.call("PING") == b"PONG"

        link.call("ACL", "DELUSER", "gone")
        # The first that fails may meet the connection while the server ends it, as a reset.
        wait_until(lambda: "refuses the user or password" in error_of(lambda: other.call("PING")))
        link.call("ACL", "SETUSER", "gone", "on", "nopass", "+@all", "~*")

        assert other.call("PING") == b"PONG"
    link.call("ACL", "DELUSER", "gone")


def received(subscription: Subscription, count: int) -> list[tuple[bytes, bytes]]:
    """Return what a subscription has heard once it has heard that many."""
    heard: list[tuple[bytes, bytes]] = []

    def enough() -> bool:
        heard.extend(subscription.receive())
        return len(heard) >= count

    wait_until(enough)
    return heard


def test_a_subscription_hears_what_is_published_and_never_waits(link: RedisLink) -> None:
    with closing(Subscription(link.address, channels=["a", "b"], patterns=["c*"])) as subscription:
        assert subscription.receive() == []

        for channel in ("a", "c1", "other", "b"):
            link.call("PUBLISH", channel, f"to {channel}")

        heard = received(subscription, 3)
        assert heard == [(b"a", b"to a"), (b"c1", b"to c1"), (b"b", b"to b")]


def test_a_subscription_joins_other_channels_and_leaves_them(link: RedisLink) -> None:
    with closing(Subscription(link.address, channels=["a"])) as subscription:
        subscription.leave(["a"])
        link.call("PUBLISH", "a", "too late")
        subscription.join(["b", "c"])

        assert [link.call("PUBLISH", channel, f"to {channel}") for channel in "abc"] == [0, 1, 1]

        heard = received(subscription, 2)
        assert heard == [(b"b", b"to b"), (b"c", b"to c")]


def test_what_is_published_while_a_channel_is_joined_is_heard(link: RedisLink) -> None:
    with closing(Subscription(link.address, channels=["a"])) as subscription:
        link.call("PUBLISH", "a", "early")
        subscription.join(["b"])

        assert subscription.receive() == [(b"a", b"early")]


def test_a_subscription_that_may_not_join_is_lost(link: RedisLink) -> None:
    link.call("ACL", "SETUSER", "narrow", "on", "nopass", "+@all", "resetchannels", "&a", "&__redis__*")
    address = address_of(link.address.shown.replace("//", "//narrow:any@"), timeout_s=20.0, master="")
    with closing(Subscription(address, channels=["a"])) as subscription:
        with pytest.raises(StorageError, match=r"(?i)no permissions"):
            subscription.join(["b"])
        assert subscription.lost
    link.call("ACL", "DELUSER", "narrow")


def test_a_subscription_says_when_its_connection_is_gone(link: RedisLink) -> None:
    with closing(Subscription(link.address, channels=["a"])) as subscription:
        link.call("CLIENT", "KILL", "TYPE", "pubsub")

        with pytest.raises(StorageError, match=r"closed the connection|[Rr]eset"):
            wait_until(subscription.receive)
        assert subscription.lost
