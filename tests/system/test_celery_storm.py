"""A Celery app whose processes are killed at random: every message, result and chord is accounted for.

With late acknowledgement a task runs at least once: again, when its process or its worker died.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery import chord

from taskd.host import procinfo
from tests import services
from tests.services import RedisServer
from tests.system.celery_client import CELERYS_WARNINGS, client_over
from tests.system.daemon import Daemon, head_over
from tests.waiting import let_pass, wait_until

pytestmark = [*CELERYS_WARNINGS, pytest.mark.slow]

WORKER = """
[worker.main]
queues = ["celery"]
pool = "{pool}"
concurrency = 2
lease = "2s"
max_deaths = 1000
restart_delay_max = "200ms"
restart_intensity = 100000
{more}
"""
TASKS = 3_000
CHORDS = 60
PARTS = 5


class Storm:
    """A daemon whose processes are killed, and what its tasks have written down."""

    def __init__(self, daemon: Daemon, notes: Path, seed: int) -> None:
        self.daemon = daemon
        self._notes = notes
        self._dice = random.Random(seed)
        self.kills: Counter[str] = Counter()

    def runs(self) -> Counter[str]:
        """Return how often each number has run."""
        return Counter(self._notes.read_text().split()) if self._notes.exists() else Counter()

    def strike(self) -> None:
        """Kill a child, their template, the worker, or the daemon with all that it has."""
        if self._dice.random() < 0.05:
            self.daemon.end()
            self.daemon.start()
            self.kills["daemon"] += 1
            return
        assert self.daemon.process is not None
        victims = procinfo.descendants(self.daemon.process.pid)
        if victims:
            try:
                os.kill(self._dice.choice(victims), signal.SIGKILL)
                self.kills["process"] += 1
            except ProcessLookupError:
                pass  # it was killed already

    def pause(self) -> None:
        """Let some tasks run before the next blow."""
        enough = sum(self.runs().values()) + self._dice.choice((0, 20, 60))
        let_pass(0.3, partial(self._has_run, enough), 3.0)

    def _has_run(self, count: int) -> bool:
        return sum(self.runs().values()) >= count


@pytest.mark.timeout(900)
@pytest.mark.parametrize("over", ["redis", "rabbitmq"])
def test_random_kills_cost_a_celery_app_no_message_no_result_and_no_chord(
    over: str, make_daemon: Callable[..., Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = RedisServer()
    broker = redis.url if over == "redis" else services.rabbit_url()
    notes = tmp_path / "notes"
    monkeypatch.setenv("TEST_BROKER", broker)
    monkeypatch.setenv("TEST_RESULTS", redis.url)
    monkeypatch.setenv("TEST_NOTES", str(notes))
    daemon = make_daemon(
        WORKER.format(pool="prefork", more=""), head=head_over(broker, redis.url, app="stormy")
    )
    seed = random.randrange(2**32)
    storm = Storm(daemon, notes, seed)
    try:
        with client_over(broker, redis.url) as client:
            daemon.start()
            plain = [client.send_task("stormy.note", (number,)) for number in range(TASKS)]
            chords = [chord_of(client, number) for number in range(CHORDS)]
            waiting = [*plain, *chords]
            deadline = time.monotonic() + 600
            while waiting:
                assert time.monotonic() < deadline, (
                    f"seed={seed} kills={storm.kills} without end: {waiting[:5]}"
                )
                storm.strike()
                storm.pause()
                waiting = [each for each in waiting if not each.ready()]

            assert [each.get(timeout=60) for each in plain] == list(range(TASKS))
            assert [each.get(timeout=60) for each in chords] == [number * PARTS for number in range(CHORDS)]
            runs = storm.runs()
            assert set(runs) >= {str(number) for number in range(TASKS)}
            wait_until(partial(is_empty, daemon), what="the end of the last message")
            assert daemon.dead_letters() == []
            assert sum(storm.kills.values()) >= 10, f"seed={seed}: the storm was over before it began"
            print(f"seed={seed} kills={dict(storm.kills)} tasks={TASKS} runs={sum(runs.values())}")
    finally:
        daemon.end()
        redis.end()


def chord_of(client: Any, number: int) -> Any:
    """Send a chord whose parts return its number."""
    parts = [client.signature("stormy.same", (number,)) for _ in range(PARTS)]
    return chord(parts, app=client)(client.signature("stormy.total"))


def is_empty(daemon: Daemon) -> bool:
    queues = daemon.broker().desk().queues()
    return sum(queue.ready + queue.claimed for queue in queues) == 0


#: Tasks of a soak; TASKD_FUZZ_TIMES makes a night of it, as for the fuzzers (20: the 200,000 of a release).
SOAK = int(10_000 * float(os.environ.get("TASKD_FUZZ_TIMES", "1")))
#: The parts of a soak between which its memory is compared.
STAGES = 4


@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    ("pool", "more"),
    [("prefork", ""), ("prefork", "max_tasks_per_child = 500"), ("threads", ""), ("gevent", "")],
)
def test_the_memory_of_a_celery_app_stays_flat(
    pool: str, more: str, make_daemon: Callable[..., Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = services.redis_database()
    for name, value in {"BROKER": url, "RESULTS": url, "NOTES": str(tmp_path / "notes")}.items():
        monkeypatch.setenv(f"TEST_{name}", value)
    daemon = make_daemon(WORKER.format(pool=pool, more=more), head=head_over(url, url, app="stormy"))
    daemon.start()
    sizes: list[list[int]] = []
    with client_over(url, url) as client, client.producer_pool.acquire() as producer:
        for _ in range(STAGES):
            sent = [
                client.send_task("stormy.same", (number,), producer=producer)
                for number in range(SOAK // STAGES)
            ]
            wait_until(partial(is_empty, daemon), max(60.0, SOAK / 50), "the end of the soak's part")
            assert [each.get(timeout=60) for each in sent] == list(range(len(sent)))
            sizes.append([procinfo.pss_bytes(pid) for pid in daemon.pids()])
            for each in sent:
                each.forget()

    # The first part warms up; what leaks, leaks with every part.
    assert sum(sizes[-1]) - sum(sizes[1]) < 8_000_000, sizes
    assert daemon.dead_letters() == []
    shown = [[round(size / 1e6, 1) for size in part] for part in sizes]
    print(f"{pool} {more} tasks={SOAK}: MB of the supervisor, the worker and what it has, by part: {shown}")
