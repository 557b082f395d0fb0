"""Thousands of tasks while children and workers are killed at random: every effect is there."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from taskd.host import procinfo
from tests.system.daemon import Daemon, head_over
from tests.system.shared_brokers import BROKERS
from tests.waiting import let_pass

#: Tasks, and seconds between kills, by broker: over a server a worker starts more slowly (it greets its
#: neighbours first), and what is killed before it has claimed tells nothing.
STORMS = {"sqlite": (10_000, 0.15), "redis": (10_000, 0.5), "rabbitmq": (20_000, 0.5)}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("over", STORMS)
def test_random_kills_lose_no_task(over: str, make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    tasks, kill_every_s = STORMS[over]
    daemon = make_daemon(
        # The storm is on purpose: no budget may end it, and a task is not to blame for its children.
        'restart_intensity = 100000\nrestart_delay_max = "200ms"\n'
        '[worker.main]\npool = "prefork"\nconcurrency = 2\nprocesses = 2\nmax_deaths = 1000\n'
        '[log]\nlevel = "warning"\n',
        head=head_over(BROKERS[over](tmp_path)),
    )
    daemon.start()
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    notes = tmp_path / "notes"
    app = daemon.app
    wanted = {str(number) for number in range(tasks)}
    app.send_many([app.call("shop.slow_note", str(notes), number) for number in sorted(wanted)])

    kills = 0
    deadline = time.monotonic() + 400
    done: set[str] = set()
    while not wanted <= done:
        assert time.monotonic() < deadline, f"seed={seed} kills={kills} missing={len(wanted - done)}"
        assert daemon.process is not None
        victims = procinfo.descendants(daemon.process.pid)
        if victims:
            try:
                os.kill(dice.choice(victims), signal.SIGKILL)
                kills += 1
            except ProcessLookupError:
                pass
        # By what was done and not by the clock alone, or on a slow machine no worker would ever have started;
        # now and then without waiting, to strike those that start.
        enough = len(done) + dice.choice((0, 50, 100))
        let_pass(kill_every_s, partial(has_done, notes, min(enough, tasks)), 3.0)
        done = done_in(notes)

    assert kills >= 10, f"seed={seed}: the storm was over before it began"
    assert daemon.dead_letters() == []
    print(f"seed={seed} kills={kills} runs={len(notes.read_text().split())} tasks={tasks}")


def done_in(notes: Path) -> set[str]:
    return set(notes.read_text().split()) if notes.exists() else set()


def has_done(notes: Path, count: int) -> bool:
    return len(done_in(notes)) >= count
