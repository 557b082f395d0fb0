"""A sender whose threads send while it forks: the child neither hangs nor finds anything locked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from taskd import App
from taskd.base import forks
from tests import services

FORKS = 50
THREADS = 4

URLS: Mapping[str, Callable[[Path], str]] = {
    "sqlite": lambda directory: f"sqlite://{directory}/broker.db",
    "redis": lambda directory: services.redis_database(),
}


@pytest.fixture(params=sorted(URLS))
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[App]:
    url = URLS[request.param](tmp_path)
    opened = App(broker=url, results=url)
    yield opened
    opened.close()


def in_child(work: Callable[[], object]) -> int:
    """Fork, do something in the child, which has a minute for it, and return its pid."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def test_every_child_of_a_threaded_sender_sends_and_asks(app: App) -> None:
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            app.send_task("busy").ready()

    def work() -> None:
        app.send_task("from.the.child", queue="children").ready()

    app.send_task("first").ready()
    threads = [threading.Thread(target=send) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    statuses = []
    for _ in range(FORKS):
        child = in_child(work)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    over.set()
    for thread in threads:
        thread.join(60)

    assert statuses == [0] * FORKS
    with closing(app.connections._broker().desk()) as desk:
        waiting = {info.name: info.ready for info in desk.queues()}
    assert waiting["children"] == FORKS


_FORK_AT_ONCE = """
import os, signal, sys, threading
from taskd import App
from taskd.base import forks

forks._PATIENCE_S = 60.0  # on a busy machine the imports of a first send may take longer than a fork waits
app = App(broker=sys.argv[1], results=sys.argv[1])
thread = threading.Thread(target=lambda: app.send_task("first").ready())
thread.start()
child = os.fork()
if child == 0:
    signal.alarm(60)
    app.send_task("child").ready()
    os._exit(0)
status = os.waitpid(child, 0)[1]
thread.join()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("url", sorted(URLS))
def test_a_fork_in_the_middle_of_the_first_send_does_not_hang_the_child(url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _FORK_AT_ONCE, URLS[url](tmp_path)]

    assert subprocess.run(command, timeout=100, check=False).returncode == 0


class Busy:
    """Something guarded that notes what a fork asked of it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.asked: list[str] = []

    def rest(self, timeout_s: float) -> bool:
        self.asked.append("rest")
        return self.lock.acquire(timeout=timeout_s)

    def go_on(self) -> None:
        self.asked.append("go on")
        self.lock.release()

    def give_up(self) -> None:
        self.lock = threading.RLock()


def test_a_fork_waits_also_for_what_began_while_it_waited() -> None:
    late = Busy()

    class Opening(Busy):
        def rest(self, timeout_s: float) -> bool:
            forks.guard(late)
            return super().rest(timeout_s)

    opening = Opening()
    forks.guard(opening)

    child = in_child(lambda: None)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert opening.asked == late.asked == ["rest", "go on"]


def test_a_thread_that_stays_inside_does_not_keep_others_from_forking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forks, "_PATIENCE_S", 0.05)
    busy, idle = Busy(), Busy()
    for each in (busy, idle):
        forks.guard(each)
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with busy.lock:
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait(60)

    child = in_child(lambda: os._exit(0 if busy.rest(5) and idle.rest(5) else 2))

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    leave.set()
    thread.join(60)
    assert idle.rest(5)
    assert busy.rest(5)
