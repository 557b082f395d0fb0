"""Mixed tasks for a long time, on each pool: every effect is there, and the worker does not grow.

Two parts.  A storm: whatever the pool survives is killed at random, workers included.  Then a steady
stretch in which the worker lives on (prefork children are killed all the same) and is measured at rest,
after the warm-up and at the end.  ``SOAK_TASKS`` is the number of tasks for each pool; the
full soak has 200000.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from taskd.host import procinfo
from tests.system.daemon import Daemon
from tests.waiting import let_pass, wait_until

TASKS = int(os.environ.get("SOAK_TASKS", "9000"))
#: Time for one stretch to be done: generous, it bounds a hang.
LIMIT_S = 120 + TASKS / 50
#: The longest time from one kill to the next, when nothing is done meanwhile.
PATIENCE_S = 5.0
#: Growth of resident memory from rest to rest.
MOST_GROWTH = 0.05

#: One line for each pool that joins: its slots, and whether its tasks die alone.
POOLS = {
    "prefork": (2, True),
    "solo": (1, False),
    "threads": (4, False),
    "asyncio": (8, False),
    "gevent": (8, False),
    "eventlet": (8, False),
}
HEAD = """
app = "tests.system.soak_app:app"
broker = "sqlite://broker.db"
results = "sqlite://results.db"
[log]
level = "error"
[supervisor]
control_socket = "taskd.sock"
state_directory = "."
stop_timeout = "20s"
restart_intensity = 100000
restart_delay_max = "200ms"
"""


class Soak:
    """One daemon, and a file in which every task leaves its number."""

    def __init__(self, daemon: Daemon, notes: Path, dice: random.Random) -> None:
        self.daemon = daemon
        self.notes = notes
        self.dice = dice
        self.sent = 0
        self.kills = 0

    def send(self, count: int, killers: int) -> None:
        """Send so many tasks in random order, some of which kill their process once."""
        kinds = self.dice.choices(("fast", "failing", "retrying", "slow"), (85, 5, 5, 5), k=count - killers)
        kinds += ["killed"] * killers
        self.dice.shuffle(kinds)
        app = self.daemon.app
        for start in range(0, count, 1000):
            calls = [
                app.call(f"soak.{kind}", str(self.notes), self.sent + number)
                for number, kind in enumerate(kinds[start : start + 1000])
            ]
            app.send_many(calls)
            self.sent += len(calls)

    def drain(self, victims: Callable[[], Sequence[int]], pause_s: float) -> None:
        """Kill one of the victims now and then until every effect is there and nothing is claimed.

        By what was done and not by the clock alone, or on a slow machine nothing would ever have started; now
        and then without waiting, to strike what starts.
        """
        deadline = time.monotonic() + LIMIT_S
        while missing := len(self.missing()):
            assert time.monotonic() < deadline, f"{missing} effects are missing"
            alive = victims()
            if alive:
                try:
                    os.kill(self.dice.choice(alive), signal.SIGKILL)
                    self.kills += 1
                except ProcessLookupError:
                    pass
            left = missing - self.dice.choice((0, 1, 50))
            let_pass(pause_s, partial(self.has_at_most, max(0, left)), PATIENCE_S)
        with closing(self.daemon.broker()) as broker:
            desk = broker.desk()
            wait_until(lambda: all(q.ready + q.claimed + q.delayed == 0 for q in desk.queues()), 30)

    def any_process(self, dies_alone: bool) -> list[int]:
        """Return the worker one time in ten or when nothing else can die, else its children."""
        assert self.daemon.process is not None
        everybody = procinfo.descendants(self.daemon.process.pid)
        if dies_alone and self.dice.random() < 0.9:
            return everybody[1:]
        return everybody[:1]

    def has_at_most(self, missing: int) -> bool:
        return len(self.missing()) <= missing

    def missing(self) -> set[str]:
        done = set(self.notes.read_text().split()) if self.notes.exists() else set()
        return {str(number) for number in range(self.sent)} - done

    def measure(self, pid: int) -> tuple[int, int]:
        """Return the resident pages of the worker and its number of descriptors."""
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return resident, len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT_S + 60)
@pytest.mark.parametrize("pool", POOLS)
def test_every_effect_is_there_and_the_worker_does_not_grow(
    pool: str, make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    slots, dies_alone = POOLS[pool]
    seed = random.randrange(2**32)
    print(f"seed={seed}")
    daemon = make_daemon(
        f'[worker.main]\npool = "{pool}"\nconcurrency = {slots}\nmax_deaths = 100000\n', head=HEAD
    )
    daemon.start()
    soak = Soak(daemon, tmp_path / "notes", random.Random(seed))
    soak.send(TASKS // 4, killers=TASKS // 500 if dies_alone else 3)
    soak.drain(lambda: soak.any_process(dies_alone), 0.25 if dies_alone else 1.2)
    storm_kills, soak.kills = soak.kills, 0

    daemon.wait_ready()
    pid = daemon.pid_of("main-1")
    children = (lambda: procinfo.descendants(pid)) if dies_alone else list
    soak.send(TASKS // 3, killers=TASKS // 1000 if dies_alone else 0)
    soak.drain(children, 0.5)
    warm_pages, warm_fds = at_rest(soak, pid, dies_alone, slots)
    soak.send(TASKS * 5 // 12, killers=TASKS // 1000 if dies_alone else 0)
    soak.drain(children, 0.5)
    pages, fds = at_rest(soak, pid, dies_alone, slots)

    growth = pages / warm_pages - 1
    print(
        f"{pool}: tasks={soak.sent} kills={storm_kills}+{soak.kills} rss={pages * 4 / 1024:.1f} MiB "
        f"growth={growth:+.1%} fds={warm_fds}->{fds}"
    )
    assert storm_kills >= 2, "the storm was over before it began"
    assert daemon.pid_of("main-1") == pid
    assert daemon.dead_letters() == []
    # A child that has just begun leaves its ends of two descriptors here for a moment.
    wait_until(lambda: soak.measure(pid)[1] <= warm_fds, what=f"{fds} descriptors are {warm_fds} again")
    assert growth < MOST_GROWTH


def at_rest(soak: Soak, pid: int, dies_alone: bool, slots: int) -> tuple[int, int]:
    """Wait until the pool is complete again, then measure."""
    if dies_alone:
        wait_until(lambda: len(procinfo.descendants(pid)) == slots + 1, 20, "all children and the template")
    return soak.measure(pid)
