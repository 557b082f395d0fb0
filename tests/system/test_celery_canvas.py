"""Canvases made at random end on our worker as on Celery's, and call the same errbacks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import services
from tests.system.canvases import Canvas
from tests.system.celery_client import CELERYS_WARNINGS, client_over
from tests.system.celery_worker import CeleryWorker
from tests.system.daemon import Daemon, head_over
from tests.waiting import wait_until

WORKER = """
[worker.main]
queues = ["celery", "default"]
pool = "threads"
concurrency = 2
"""
OPTIONS = ("-P", "threads", "-c", "2", "-Q", "celery,theirs", "--without-mingle", "--without-gossip")

pytestmark = CELERYS_WARNINGS


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Any]:
    """A client of a Celery worker."""
    url = services.redis_database()
    worker = CeleryWorker(url, "celery@theirs", tmp_path / "celery.log", *OPTIONS)
    with client_over(url, url) as client:
        worker.wait_ready()
        yield client
        worker.end()


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Any]:
    """A client of a worker of ours."""
    url = services.redis_database()
    directory = tmp_path / "daemon"
    directory.mkdir()
    daemon = Daemon(directory, WORKER, head=head_over(url, url, app="wired_app"))
    daemon.start()
    with client_over(url, url) as client:
        yield client
        daemon.end()


def test_canvases_end_as_on_celerys_worker(theirs: Any, ours: Any, tmp_path: Path) -> None:
    compare(range(12), theirs, ours, tmp_path)


@pytest.mark.slow
def test_many_canvases_end_as_on_celerys_worker(theirs: Any, ours: Any, tmp_path: Path) -> None:
    compare(range(100, 250), theirs, ours, tmp_path)


def compare(seeds: Sequence[int], theirs: Any, ours: Any, directory: Path) -> None:
    made = []
    for name, client in (("theirs", theirs), ("ours", ours)):
        (directory / name).mkdir()
        made.append([Canvas(client, seed, directory / name) for seed in seeds])
    for one in made[1]:
        wait_until(one.ended, 60, f"the end of {one}")
    wait_until(Quiet(made[0]), 60, "Celery's worker to do nothing more")
    for one, other in zip(*made, strict=True):
        wait_until(partial(agree, one, other), 20, difference(one, other))


class Quiet:
    """Whether nothing has changed for two seconds: some canvases never end on Celery's worker."""

    def __init__(self, canvases: Sequence[Canvas]) -> None:
        self._canvases = canvases
        self._seen: object = None
        self._since = 0.0

    def __call__(self) -> bool:
        seen = [(each.ended(), each.called()) for each in self._canvases]
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        return all(ended for ended, _ in seen) or time.monotonic() - self._since > 2


def agree(theirs: Canvas, ours: Canvas) -> bool:
    """Return whether both ended alike.  Where Celery leaves somebody waiting for ever, ours ends."""
    if not theirs.ended():
        return hangs(theirs, ours)
    return theirs.outcome() == ours.outcome() and alike(theirs.called(), ours.called())


def hangs(theirs: Canvas, ours: Canvas) -> bool:
    """Return whether Celery's worker has ended what it ever ends, and that as ours."""
    pairs = zip(theirs.outcome(), ours.outcome(), strict=True)
    return all(one == other for one, other in pairs if one != ("PENDING", "NoneType"))


def alike(theirs: Counter[int], ours: Counter[int]) -> bool:
    """Return whether the same was called; we also call, once, what Celery forgets at a chord as a body."""
    return all(ours[tag] == (theirs[tag] or min(ours[tag], 1)) for tag in {*theirs, *ours})


def difference(theirs: Canvas, ours: Canvas) -> str:
    return f"{theirs}: {theirs.outcome()} {theirs.called()} here {ours.outcome()} {ours.called()}"
