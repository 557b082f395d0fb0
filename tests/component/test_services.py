"""Every service keeps to the one contract of a life, in whatever order its verbs come."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskd.base.lifecycle import Deadline, OneLife, Services
from taskd.base.loop import Loop, Owner
from tests.component.services import OPENERS, Opened
from tests.waiting import wait_until

VERBS = ("start", "quiet", "stop", "kill")
ROUNDS = 25


@contextmanager
def opened(name: str, directory: Path) -> Iterator[tuple[Loop, Opened]]:
    """A service in a world that is as before when the service has ended."""
    failed: list[str] = []
    others = children()  # servers that tests of this process share
    loop = Loop(Owner("the service", failed.append))
    directory.mkdir(exist_ok=True)
    with OPENERS[name](loop, directory) as service:
        yield loop, service
        run_until_childless(loop, others)
    loop.close()
    assert failed == []


def children() -> frozenset[str]:
    """Return the processes that this thread has begun."""
    return frozenset(Path("/proc/thread-self/children").read_text().split())


def run_until_childless(loop: Loop, others: frozenset[str]) -> None:
    def is_childless() -> bool:
        loop.run_once(0.0)
        return children() <= others

    wait_until(is_childless, 10)


def left() -> tuple[set[str], int]:
    """What a service may leave behind in this process."""
    fds = {f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}" for fd in os.listdir("/proc/self/fd") if is_open(fd)}
    return fds, threading.active_count()


def is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def do(verb: str, opened: Opened) -> None:
    service = opened.service
    match verb:
        case "start":
            service.start()
        case "quiet":
            service.quiet()
        case "stop":
            service.stop(Deadline.after(1.0))
        case "kill":
            service.kill()
        case _:
            opened.work()


@pytest.mark.parametrize("name", OPENERS)
def test_any_verbs_in_any_order_end_in_nothing_left(name: str, tmp_path: Path) -> None:
    dice = random.Random(name)
    with opened(name, tmp_path):
        pass  # what is imported and opened for the first time
    before = left()
    for round_ in range(ROUNDS):
        verbs = [dice.choice((*VERBS, "start", "work", "work")) for _ in range(dice.randint(1, 8))]
        with opened(name, tmp_path / str(round_)) as (loop, service):
            for verb in verbs:
                do(verb, service)
                for _ in range(dice.randint(0, 2)):
                    loop.run_once(0.0)
            do(dice.choice(("stop", "kill")), service)
        assert left() == before, f"after {verbs}"


@pytest.mark.parametrize("name", OPENERS)
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_end_is_final(name: str, end: str, tmp_path: Path) -> None:
    others = children()
    with opened(name, tmp_path) as (loop, service):
        do("start", service)
        do("work", service)
        loop.run_once(0.0)
        do(end, service)
        run_until_childless(loop, others)
        ended = left()

        do("start", service)
        do("quiet", service)
        loop.run_once(0.0)

        assert left() == ended


@pytest.mark.parametrize("name", OPENERS)
def test_a_stop_before_the_start_is_an_end_too(name: str, tmp_path: Path) -> None:
    with opened(name, tmp_path) as (loop, service):
        before = left()

        do("stop", service)
        do("start", service)
        loop.run_once(0.0)

        assert left()[0] <= before[0]


def test_services_end_in_reverse_and_one_that_fails_costs_none_of_the_others() -> None:
    said: list[str] = []

    class Telling:
        def __init__(self, name: str, *, fails: str = "") -> None:
            self.name, self.fails = name, fails

        def _say(self, verb: str) -> None:
            said.append(f"{verb} {self.name}")
            if self.fails == verb:
                raise ValueError(verb)

        def start(self) -> None:
            self._say("start")

        def quiet(self) -> None:
            self._say("quiet")

        def stop(self, deadline: Deadline) -> None:
            self._say("stop")

        def kill(self) -> None:
            self._say("kill")

    loop = Loop(Owner("a service", lambda _why: None))
    services = Services([Telling("a"), Telling("b", fails="stop"), Telling("c")], loop.attempt)
    services.start()
    services.stop(Deadline.after(0.0))
    assert said == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]

    said.clear()
    with pytest.raises(ValueError, match="start"):
        Services([Telling("a"), Telling("b", fails="start"), Telling("c")], loop.attempt).start()
    assert said == ["start a", "start b", "kill c", "kill b", "kill a"]
    loop.close()


def test_one_life_begins_once_and_ends_once() -> None:
    life = OneLife()
    assert (life.takes, life.begin(), life.takes, life.begin()) == (False, True, True, False)
    life.calm()
    assert (life.takes, life.end(), life.end(), life.begin()) == (False, True, False, False)
    assert not OneLife().end(), "nothing had begun"
