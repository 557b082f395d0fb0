"""Several beats over one store, stopped and killed at random and with clocks that disagree: each run once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis

from taskd.beat.messages import occurrence_id
from taskd.beat.schedules.interval import Interval
from taskd.beat.stores.base import RunOutcome
from taskd.beat.stores.redis import RedisStore
from taskd.beat.stores.sqlite import SqliteStore
from taskd.brokers.sqlite.store import BrokerFile
from taskd.brokers.timing import Timing
from taskd.config.stores import SqliteConfig
from tests import services
from tests.component.beat_program import open_broker, open_store
from tests.proxy import Proxy
from tests.waiting import wait_until

OFFSETS_S = (0.0, 0.4, -0.4)


class Beats:
    """Beat processes over one directory."""

    def __init__(self, place: Path | str, *, entries: int, every_s: float, lease_s: float = 0.4) -> None:
        self.place = str(place)
        self.entries = entries
        self.every_s = every_s
        self._lease_s = lease_s
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.started_at = time.time()
        with closing(open_broker(self.place, Timing())) as broker:
            broker.once()
        self.store().close()

    def store(self) -> SqliteStore | RedisStore:
        return open_store(self.place, Timing(), listens=False)

    def start(self, number: int, die_at: str = "", place: str = "") -> subprocess.Popen[bytes]:
        settings = (OFFSETS_S[number], self._lease_s, self.entries, self.every_s, die_at)
        command = [sys.executable, "-m", "tests.component.beat_program", place or self.place]
        self.running[number] = subprocess.Popen([*command, *map(str, settings)])
        return self.running[number]

    def kill_all(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()
        self.running.clear()

    def sent(self) -> Counter[str]:
        """Return how often each id stands in the broker; nothing is taken out."""
        if self.place.startswith("redis:"):
            with closing(Redis.from_url(self.place)) as client:
                return Counter(json.loads(raw)["headers"]["id"] for raw in client.lrange("default", 0, -1))
        opened = BrokerFile(f"{self.place}/broker.db", SqliteConfig(), Timing())
        with closing(opened), opened.database.read() as connection:
            return Counter(row[0] for row in connection.execute("SELECT task_id FROM message"))

    def decided_until(self) -> float:
        """Return up to when every entry is decided."""
        with closing(self.store()) as store:
            marks = list(store.marks())
        return min((mark.decided_at for mark in marks), default=0.0) if len(marks) == self.entries else 0.0

    def check_each_once(self, from_at: float) -> int:
        """Every occurrence from a time to the last decision was sent, and no other, and none twice."""
        sent = self.sent()
        assert set(sent.values()) == {1}
        schedule = Interval(self.every_s)
        expected = set()
        with closing(self.store()) as store:
            for mark in store.marks():
                at = from_at
                while (at := schedule.next_after(at)) <= mark.decided_at:
                    expected.add(occurrence_id(mark.name, at))
        missing = expected - set(sent)
        assert not missing, f"{len(missing)} of {len(expected)} were not sent"
        return len(expected)


def until_under_way(beats: Beats) -> float:
    """Wait until all entries are known to the store; return a time from which nothing may be lost."""
    wait_until(beats.decided_until, timeout_s=20.0)
    return beats.decided_until() + 1.0  # clocks are up to 0.8 s apart


def storm(beats: Beats, span_s: float, seed: int) -> None:
    """Stop, continue, kill and restart beats at random, never all at once for good."""
    chance = random.Random(seed)
    end = time.monotonic() + span_s
    stopped: set[int] = set()
    while time.monotonic() < end:
        number = chance.randrange(3)
        process = beats.running[number]
        match chance.randrange(3):
            case 0 if number not in stopped:
                process.send_signal(signal.SIGSTOP)
                stopped.add(number)
            case 1:
                process.send_signal(signal.SIGCONT)
                stopped.discard(number)
            case _:
                process.kill()
                process.wait()
                stopped.discard(number)
                beats.start(number)
        if len(stopped) == 3:
            for each in sorted(stopped):
                beats.running[each].send_signal(signal.SIGCONT)
            stopped.clear()
        time.sleep(chance.uniform(0.05, 0.6))
    for number in stopped:
        beats.running[number].send_signal(signal.SIGCONT)


def run_storm(directory: Path | str, *, entries: int, every_s: float, span_s: float) -> int:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    beats = Beats(directory, entries=entries, every_s=every_s)
    try:
        for number in range(3):
            beats.start(number)
        from_at = until_under_way(beats)
        storm(beats, span_s, seed)
        end_at = time.time()
        wait_until(lambda: beats.decided_until() > end_at, timeout_s=30.0, what="all are up to date")
        beats.kill_all()
        return beats.check_each_once(from_at)
    finally:
        beats.kill_all()


def test_three_beats_that_are_stopped_and_killed_send_each_run_once(tmp_path: Path) -> None:
    assert run_storm(tmp_path, entries=10, every_s=0.1, span_s=4.0) > 100


def test_three_beats_over_redis_in_a_storm_send_each_run_once() -> None:
    assert run_storm(services.redis_database(), entries=5, every_s=0.1, span_s=3.0) > 50


@pytest.mark.slow
def test_ten_thousand_runs_of_three_beats_in_a_storm_are_sent_once_each(tmp_path: Path) -> None:
    assert run_storm(tmp_path, entries=100, every_s=0.2, span_s=30.0) > 10_000


@pytest.mark.parametrize("over", ["redis", "sqlite"])
@pytest.mark.parametrize("step", ["sending", "sent", "recorded"])
def test_a_beat_that_dies_at_any_step_is_succeeded_without_a_loss_or_a_second_run(
    step: str, over: str, tmp_path: Path
) -> None:
    beats = Beats(services.redis_database() if over == "redis" else tmp_path, entries=3, every_s=0.1)
    try:
        dying = beats.start(0, die_at=step)
        assert dying.wait(60.0) == -signal.SIGKILL
        beats.start(0)
        died_at = time.time()
        wait_until(lambda: beats.decided_until() > died_at + 0.3, timeout_s=20.0)
        beats.kill_all()

        with closing(beats.store()) as store:
            history = list(store.history(None, 10_000))
        first_at = min(each.due_at for each in history)
        beats.check_each_once(first_at - 0.001)
        again = {each.due_at for each in history if each.outcome is RunOutcome.ALREADY_SENT}
        assert bool(again) == (step == "sent")
    finally:
        beats.kill_all()


def test_a_leader_that_was_stopped_fires_nothing_when_it_goes_on(tmp_path: Path) -> None:
    beats = Beats(tmp_path, entries=3, every_s=0.1)
    leader = beats.start(0)
    try:
        from_at = until_under_way(beats)
        wait_until(lambda: beats.decided_until() > from_at, timeout_s=20.0)
        leader.send_signal(signal.SIGSTOP)
        beats.start(0)  # takes the number; the stopped one is in our hand
        stopped_at = time.time()
        wait_until(lambda: beats.decided_until() > stopped_at + 0.5, timeout_s=20.0)
        leader.send_signal(signal.SIGCONT)
        wait_until(lambda: beats.decided_until() > stopped_at + 1.5, timeout_s=20.0)
        beats.kill_all()

        beats.check_each_once(from_at)
    finally:
        leader.kill()
        leader.wait()
        beats.kill_all()


@pytest.mark.slow
def test_a_leader_that_was_cut_off_fires_nothing_that_is_no_longer_its_own_and_takes_part_again() -> None:
    url = services.redis_database()
    port = urlsplit(url).port
    assert port is not None
    beats = Beats(url, entries=3, every_s=0.1)
    with closing(Proxy(port)) as proxy:
        try:
            beats.start(0, place=url.replace(str(port), str(proxy.port)))
            from_at = until_under_way(beats)
            wait_until(lambda: beats.decided_until() > from_at, timeout_s=20.0)
            proxy.silence()
            other = beats.start(1)
            cut_at = time.time()
            wait_until(lambda: beats.decided_until() > cut_at + 0.5, timeout_s=20.0)
            proxy.speak()
            wait_until(lambda: beats.decided_until() > cut_at + 2.0, timeout_s=20.0)

            other.kill()
            other.wait()

            alone_at = time.time()
            wait_until(lambda: beats.decided_until() > alone_at + 0.5, timeout_s=30.0)
            beats.kill_all()
            beats.check_each_once(from_at)
        finally:
            beats.kill_all()
