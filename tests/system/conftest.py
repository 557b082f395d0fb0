"""Fixtures of the system tier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.daemon import ONE_PREFORK_WORKER, Daemon, head_over
from tests.system.shared_brokers import BROKERS, EACH


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Make daemons (not started) that are ended after the test."""
    made: list[Daemon] = []

    def make(tables: str = ONE_PREFORK_WORKER, **words: str) -> Daemon:
        directory = tmp_path / f"d{len(made)}"
        directory.mkdir()
        made.append(Daemon(directory, tables, **words))
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon]) -> Daemon:
    """One daemon with one prefork worker, ready."""
    made = make_daemon()
    made.start()
    return made


@pytest.fixture(params=EACH)
def daemon_over(
    request: pytest.FixtureRequest, make_daemon: Callable[..., Daemon], tmp_path: Path
) -> Callable[[str], Daemon]:
    """Start a daemon with these tables, over each of the brokers in turn."""

    def start(tables: str = ONE_PREFORK_WORKER) -> Daemon:
        made = make_daemon(tables, head=head_over(BROKERS[request.param](tmp_path)))
        made.start()
        return made

    return start
