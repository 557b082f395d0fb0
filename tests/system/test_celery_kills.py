"""A Celery worker and ours on one queue, both killed over and over: every task runs."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator

import pytest
from celery import Celery
from redis import Redis

from tests import services
from tests.services import RedisServer
from tests.system.celery_client import close_celery
from tests.system.celery_worker import CeleryWorker
from tests.system.daemon import Daemon, head_over
from tests.waiting import wait_until

WORKER = """
[redis]
visibility_timeout = "3s"
[worker.main]
queues = ["shared"]
pool = "prefork"
concurrency = 2
lease = "2s"
max_deaths = 1000
restart_delay_max = "100ms"
restart_intensity = 1000
"""
#: Messages that wait at a time: a busy machine looks as often, and runs fewer of them meanwhile.
ENOUGH = 50
OPTIONS = ("-Q", "shared", "--without-mingle", "--without-gossip", "--prefetch-multiplier", "4")
#: Everything that is in a list or claimed, in one step: the ids of its envelopes.
PRESENT = """
local found = {}
for _, key in ipairs(redis.call('KEYS', 'shared*')) do
  for _, each in ipairs(redis.call('LRANGE', key, 0, -1)) do found[#found + 1] = each end
end
for _, key in ipairs({'unacked', unpack(redis.call('KEYS', 'taskd:claims:*'))}) do
  for _, each in ipairs(redis.call('HVALS', key)) do found[#found + 1] = each end
end
return found
"""


class Cluster:
    """Both workers on one queue, and what they are to do."""

    def __init__(self, url: str, daemon: Daemon) -> None:
        self._url = url
        self._daemon = daemon
        self._marks = daemon.directory / "marks"
        self._marks.touch()
        self._client = Celery("client", broker=url)
        self._sent = 0
        self.theirs: list[CeleryWorker] = []

    def send(self, count: int) -> None:
        """Send tasks of 20 ms."""
        for _ in range(count):
            self._client.send_task(
                "both.mark", (self._sent, str(self._marks)), queue="shared", task_id=f"number-{self._sent}"
            )
            self._sent += 1

    def ran(self, who: str = "") -> list[int]:
        """Return the numbers that were run, by whom."""
        return [int(line.split()[1]) for line in self._marks.read_text().splitlines() if who in line]

    def all_ran(self) -> bool:
        return len(set(self.ran())) == self._sent

    def kill_theirs_at_work(self) -> None:
        """Start a Celery worker, and kill it while it holds messages."""
        before = len(self.ran("celery"))
        log = self._daemon.directory / "celery.log"
        self.theirs.append(CeleryWorker(self._url, "celery@theirs", log, *OPTIONS))

        def works() -> bool:
            if self._sent - len(set(self.ran())) < ENOUGH:
                self.send(5)
            return len(self.ran("celery")) > before

        wait_until(works, 40, "a task that the Celery worker has run")
        wait_until(self._kill_between_two_fetches, 20, "a moment at which the Celery worker fetches nothing")

    def _kill_between_two_fetches(self) -> bool:
        """Kill it, but not while a message is on its way to it, which Celery on Redis loses by design."""
        process = self.theirs[-1].process
        process.send_signal(signal.SIGSTOP)
        if self._url.startswith("redis") and not self._nothing_is_on_its_way():
            process.send_signal(signal.SIGCONT)
            return False
        self.theirs[-1].end(signal.SIGKILL)
        return True

    def _nothing_is_on_its_way(self) -> bool:
        with Redis.from_url(self._url) as redis:
            for client in redis.client_list():
                if client["cmd"] == "brpop" and "b" in client["flags"]:
                    redis.client_unblock(int(client["id"]))
            present = b"".join(redis.eval(PRESENT, 0))
        known = {int(number) for number in re.findall(rb'"id": ?"number-(\d+)"', present)}
        return known | set(self.ran()) == set(range(self._sent))

    def kill_ours(self) -> None:
        """Kill our worker; its supervisor starts another."""
        pid = self._daemon.pid_of("main-1")
        os.kill(pid, signal.SIGKILL)

        def again() -> bool:
            row = self._daemon.row("main-1")
            return row["state"] == "READY" and row["pid"] != pid

        wait_until(again, 20, "the next worker of ours")

    def end(self) -> None:
        for worker in self.theirs:
            worker.end()
        close_celery(self._client)


@pytest.fixture
def make_cluster(make_daemon: Callable[..., Daemon]) -> Iterator[Callable[[str], Cluster]]:
    made: list[Cluster] = []

    def make(url: str) -> Cluster:
        daemon = make_daemon(WORKER, head=head_over(url, "null://", app="wired_app"))
        daemon.start()
        made.append(Cluster(url, daemon))
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture
def redis_url() -> Iterator[str]:
    server = RedisServer()
    yield server.url
    server.end()


def kill_all_over(cluster: Cluster, times: int) -> None:
    """Kill each worker so often, the Celery worker at last for good."""
    for _ in range(times):
        cluster.send(20)
        cluster.kill_ours()
        cluster.kill_theirs_at_work()
    wait_until(cluster.all_ran, 200, "all tasks to run")


def test_what_a_celery_worker_held_when_it_was_killed_for_good_runs_on_ours(
    make_cluster: Callable[[str], Cluster], redis_url: str
) -> None:
    kill_all_over(make_cluster(redis_url), 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_mixed_cluster_on_redis_loses_nothing_in_forty_kills(
    make_cluster: Callable[[str], Cluster], redis_url: str
) -> None:
    kill_all_over(make_cluster(redis_url), 20)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_mixed_cluster_on_rabbitmq_loses_nothing_in_sixteen_kills(
    make_cluster: Callable[[str], Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_RESULTS", "rpc://")
    kill_all_over(make_cluster(services.rabbit_url()), 8)
