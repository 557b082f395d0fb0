"""Beat at work on a loop: sending, a broker that is away, status lines, stopping."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import pytest

from taskd import clock
from taskd.backoff import Backoff
from taskd.beat.messages import beat_message, occurrence_id
from taskd.beat.service import Beat
from taskd.brokers.base import Broker, QueueInfo
from taskd.brokers.intake import Outgoing
from taskd.config.schedule import BeatEntryConfig
from taskd.errors import BrokerError, ConfigError
from taskd.loop import Loop
from taskd.protocol.message import decode_body, decode_headers
from taskd.protocol.status import Heartbeat, Ready, StatusLine, Waiting
from tests.waiting import wait_until

NOON = 1_772_366_400.0
AT_ONCE = Backoff(base_s=0.001, max_s=0.001)


class Away:
    """A broker that can be switched off; it is its own publisher and keeps what it is sent."""

    url = "away://"

    def __init__(self) -> None:
        self.is_away = False
        self.connects = 0
        self.sent: list[Outgoing] = []
        self.open = 0

    def connect(self) -> Broker:
        self.connects += 1
        if self.is_away:
            raise BrokerError("nobody is there")
        self.open += 1
        return self  # type: ignore[return-value]  # the part of a broker that beat uses

    def desk(self) -> Away:
        return self

    def queues(self) -> Sequence[QueueInfo]:
        return []

    def publisher(self) -> Away:
        self.open += 1
        return self

    def publish(self, messages: Sequence[Outgoing]) -> None:
        if self.is_away:
            raise BrokerError("nobody is there")
        self.sent.extend(messages)

    def close(self) -> None:
        self.open -= 1


class Bench:
    """One beat over a broker that can go away, with a clock that the test sets."""

    def __init__(self, loop: Loop, *entries: BeatEntryConfig) -> None:
        self.now_at = NOON
        self.looks = 0
        self.loop = loop
        self.broker = Away()
        self.lines: list[StatusLine] = []
        self.entries = {entry.name: entry for entry in entries}

    def now(self) -> float:
        self.looks += 1
        return self.now_at

    def start(self) -> Beat:
        self.beat = Beat(
            self.loop,
            self.entries,
            self.broker.connect,
            self.lines.append,
            now=self.now,
            backoff=AT_ONCE,
        )
        self.beat.start()
        return self.beat

    def advance(self, span_s: float) -> None:
        """Set the clock ahead and let beat look at it, as its longest sleep would make it do."""
        self.now_at += span_s
        self.beat.tick()

    def run_until_sent(self, count: int) -> None:
        until = clock.monotonic() + 5.0
        while len(self.broker.sent) < count and clock.monotonic() < until:
            self.loop.run_once(0.1)
        assert len(self.broker.sent) == count


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def every(name: str, span_s: float, **options: object) -> BeatEntryConfig:
    return BeatEntryConfig(name=name, task=f"tasks.{name}", every=span_s, **options)  # type: ignore[arg-type]


def test_an_entry_is_sent_when_it_is_due_and_not_at_the_start(loop: Loop) -> None:
    bench = Bench(loop, every("minute", 60.0))
    bench.start()
    assert bench.broker.sent == []

    bench.advance(60.0)

    assert [message.task_id for message in bench.broker.sent] == [occurrence_id("minute", NOON + 60)]


def test_ticks_ahead_of_time_leave_one_timer(loop: Loop) -> None:
    bench = Bench(loop, every("often", 0.05))
    beat = bench.start()
    for _ in range(50):
        beat.tick()
    bench.looks = 0
    until = clock.monotonic() + 0.2
    while clock.monotonic() < until:
        loop.run_once(0.05)

    # One timer of 50 ms looks at the clock about eight times in this span, fifty of them 400 times.
    assert 0 < bench.looks < 50


def test_a_real_timer_wakes_beat_for_the_next_run(loop: Loop) -> None:
    bench = Bench(loop, every("often", 0.05))
    bench.now_at = clock.now()
    beat = Beat(loop, bench.entries, bench.broker.connect, bench.lines.append)
    beat.start()

    bench.run_until_sent(3)

    beat.stop()


def test_runs_that_came_due_while_the_broker_was_away_are_sent_when_it_is_back(loop: Loop) -> None:
    bench = Bench(loop, every("minute", 60.0), every("hour", 3600.0))
    bench.start()
    bench.broker.is_away = True
    bench.advance(3600.0)
    bench.advance(60.0)
    assert bench.broker.sent == []

    bench.broker.is_away = False
    bench.run_until_sent(2)

    # One of each entry: the later run of "minute" took the place of the earlier one.
    assert {message.task_id for message in bench.broker.sent} == {
        occurrence_id("minute", NOON + 3660),
        occurrence_id("hour", NOON + 3600),
    }


def test_a_broker_that_is_away_and_back_is_told_to_the_supervisor(loop: Loop) -> None:
    bench = Bench(loop, every("minute", 60.0))
    bench.broker.is_away = True
    bench.start()
    bench.advance(60.0)
    bench.broker.is_away = False
    bench.run_until_sent(1)

    assert isinstance(bench.lines[0], Waiting)
    assert "nobody is there" in bench.lines[0].reason
    assert bench.lines.count(Ready()) == 1
    assert Ready() in bench.lines[1:]


def test_ready_is_reported_once_and_heartbeats_count_what_was_sent(loop: Loop) -> None:
    bench = Bench(loop, every("minute", 60.0))
    bench.start()
    assert bench.lines[0] == Ready()
    bench.advance(60.0)

    def last_heartbeat() -> Heartbeat:
        bench.advance(0.0)
        return [line for line in bench.lines if isinstance(line, Heartbeat)][-1]

    wait_until(lambda: last_heartbeat().done == 1)
    assert last_heartbeat().rss_bytes > 1_000_000
    assert bench.lines.count(Ready()) == 1


def test_stopping_closes_everything_and_names_what_was_not_sent(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(loop, every("minute", 60.0))
    beat = bench.start()
    bench.broker.is_away = True
    bench.advance(60.0)

    beat.stop()
    beat.stop()

    assert bench.broker.open == 0
    assert "entries=minute" in caplog.text


def test_a_wrong_schedule_is_an_error_before_anything_is_sent(loop: Loop) -> None:
    bench = Bench(loop, BeatEntryConfig(name="odd", task="t", cron="61 * * * *"))

    with pytest.raises(ConfigError, match="minute"):
        bench.start()


def test_the_message_is_a_task_of_protocol_2_marked_as_sent_by_beat() -> None:
    options = {"args": (1, "a"), "kwargs": {"deep": [True]}, "queue": "slow", "priority": 7, "expires": 30.0}
    entry = every("report", 60.0, **options)

    message = beat_message(entry, NOON)

    headers = decode_headers(message.headers)
    assert (headers.task, headers.id, headers.root_id) == ("tasks.report", message.task_id, message.task_id)
    assert headers.expires_at == NOON + 30.0
    assert msgspec.json.decode(message.headers)["celery_beat_task"] is True
    assert decode_body(message.body, message.content_type, message.content_encoding)[:2] == (
        [1, "a"],
        {"deep": [True]},
    )
    assert (message.routing_key, message.priority, message.due_at) == ("slow", 7, None)


def test_one_occurrence_has_one_id_and_another_has_another() -> None:
    entry = every("report", 60.0)

    assert beat_message(entry, NOON).task_id == beat_message(entry, NOON).task_id
    assert beat_message(entry, NOON).task_id != beat_message(entry, NOON + 60).task_id
    assert beat_message(entry, NOON).task_id != beat_message(every("other", 60.0), NOON).task_id
    assert decode_headers(beat_message(entry, NOON).headers).expires is None
