"""Keys of Redis that a newer taskd has changed: used, brought up, or refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Barrier, Thread

import pytest

from taskd.base.errors import NewerFormatError, StorageError
from taskd.beat.stores import redis as beat
from taskd.brokers.redis import keys
from taskd.brokers.redis.broker import RedisBroker
from taskd.config.stores import RedisConfig
from taskd.protocol.delivery import Ack
from taskd.revocations import redis as revocations
from taskd.revocations.known import By
from taskd.storage.redis.address import address_of
from taskd.storage.redis.link import RedisLink
from taskd.storage.redis.marked import Marked, RedisFormats, RedisStep
from tests import services
from tests.contract.brokers import bodies, message

FIRST = RedisStep(1, 1, ())


@pytest.fixture
def config(tmp_path: Path) -> RedisConfig:
    return RedisConfig(key_prefix=f"{tmp_path}:")


@pytest.fixture
def link() -> Iterator[RedisLink]:
    with closing(opened()) as found:
        yield found


@pytest.fixture
def broker(config: RedisConfig) -> Iterator[RedisBroker]:
    with closing(RedisBroker(services.redis_url(), config)) as found:
        yield found


def opened(marked: Marked | None = None) -> RedisLink:
    return RedisLink(address_of(services.redis_url(), timeout_s=20.0, master=""), marked)


def marks(link: RedisLink, config: RedisConfig) -> dict[bytes, bytes]:
    row = link.call("HGETALL", f"{config.key_prefix}taskd:formats")
    return dict(zip(row[::2], row[1::2], strict=True))


def test_keys_without_a_mark_are_of_the_first_format(
    broker: RedisBroker, link: RedisLink, config: RedisConfig
) -> None:
    broker.publisher().publish([message("x")])

    assert bodies(broker.intake("w", ["mail"]).claim(1)) == ["x"]
    assert marks(link, config) == {}


def test_the_steps_that_are_due_are_made_once_however_many_connect(
    link: RedisLink, config: RedisConfig
) -> None:
    prefix = config.key_prefix
    link.call("SET", f"{prefix}taskd:count", 1)
    formats = RedisFormats(
        "x",
        (
            FIRST,
            RedisStep(2, 1, ("redis.call('INCRBY', prefix .. 'taskd:count', 10)",)),
            RedisStep(3, 3, ("redis.call('RENAME', prefix .. 'taskd:count', prefix .. 'taskd:total')",)),
        ),
    )
    start = Barrier(4)

    def connect() -> None:
        with closing(opened(Marked(formats, prefix))) as one:
            start.wait()
            one.call("PING")

    threads = [Thread(target=connect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert link.call("GET", f"{prefix}taskd:total") == b"11"
    assert marks(link, config) == {b"x": b"3", b"x.format": b"3"}


def test_a_step_that_fails_is_said_and_nothing_is_marked(link: RedisLink, config: RedisConfig) -> None:
    formats = RedisFormats("x", (FIRST, RedisStep(2, 1, ("redis.call('NONE')",))))

    with (
        closing(opened(Marked(formats, config.key_prefix))) as one,
        pytest.raises(StorageError, match="nknown"),
    ):
        one.call("PING")

    assert marks(link, config) == {}


def test_a_worker_goes_on_beside_what_the_next_release_has_added(
    broker: RedisBroker, config: RedisConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake, publisher = broker.intake("w", ["mail"]), broker.publisher()
    publisher.publish([message("before")])
    monkeypatch.setattr(keys, "FORMATS", RedisFormats("broker", (FIRST, RedisStep(2, 1, ()))))
    with closing(RedisBroker(services.redis_url(), config)) as newer:
        newer.publisher().publish([message("of the next")])
    monkeypatch.undo()

    intake.renew()
    publisher.publish([message("of this")])
    claimed = intake.claim(10)

    assert bodies(claimed) == ["before", "of the next", "of this"]
    assert not intake.settle([Ack(each.tag) for each in claimed])


def test_who_cannot_read_what_the_next_release_wrote_is_told_by_name_with_the_remedy(
    broker: RedisBroker, config: RedisConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = broker.intake("w", ["mail"])
    monkeypatch.setattr(keys, "FORMATS", RedisFormats("broker", (FIRST, RedisStep(2, 2, ()))))
    with closing(RedisBroker(services.redis_url(), config)) as newer:
        newer.desk().queues()
    monkeypatch.undo()

    told = r"taskd:\* was written by a newer taskd \(broker format 2, .*upgrade taskd"
    with pytest.raises(NewerFormatError, match=told):
        intake.renew()
    with pytest.raises(NewerFormatError, match=told):
        broker.publisher().publish([message("lost")])
    with pytest.raises(NewerFormatError, match=told):
        broker.intake("another", ["mail"])


def test_beat_and_revocations_have_formats_of_their_own(
    link: RedisLink, config: RedisConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = beat.RedisStore(services.redis_url(), config, 10, listens=False)
    state = revocations.StateKeys(services.redis_url(), config)
    link.call("HSET", f"{config.key_prefix}taskd:formats", "beat", 7, "beat.format", 8)

    state.add(By.ID, ("an-id",))
    with pytest.raises(NewerFormatError, match="beat format 8, to be read from format 7 on"):
        store.lead(10.0, succeed=True)

    state.close()
    store.close()
