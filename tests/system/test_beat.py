"""Beat under a real daemon: entries fire as tasks, change at once, and each occurrence runs once."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.system.daemon import HEAD, Daemon
from tests.waiting import wait_until

#: Patience for a busy machine; without a wake-up beat would look after ten seconds.
AT_ONCE_S = 8.0

WORKER = """
[worker.main]
pool = "threads"
concurrency = 2
[beat]
run = "always"
store = "sqlite://beat.db"
"""


def entry(name: str, path: Path, every: str, *keys: str) -> str:
    lines = [
        f"[beat.schedule.{name}]",
        'task = "shop.note"',
        f'args = ["{path}", "{name}"]',
        f"every = {every}",
    ]
    return "\n".join([*lines, *keys, ""])


def runs(path: Path) -> Counter[str]:
    return Counter(path.read_text().split()) if path.exists() else Counter()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


def test_an_entry_fires_and_its_task_runs(make_daemon: Callable[..., Daemon], notes: Path) -> None:
    daemon = make_daemon(WORKER + entry("often", notes, "0.1"))
    daemon.start()

    wait_until(lambda: runs(notes)["often"] >= 5, 20)

    listed = next(
        each
        for each in json.loads(daemon.ctl("beat", "list", "--json").stdout)["entries"]
        if each["name"] == "often"
    )
    assert listed["source"] == "file"
    assert listed["fired"] >= 5
    (told,) = daemon.ctl("events", "--json", "--routing-key", "beat.#", "--count", "1").stdout.splitlines()
    event = json.loads(told)
    assert (event["type"], event["entry"], event["task"]) == ("beat-sent", "often", "shop.note")
    assert daemon.stop() == 0


def test_what_operators_change_is_in_force_at_once(make_daemon: Callable[..., Daemon], notes: Path) -> None:
    hourly, ticks = entry("hourly", notes, '"1h"'), entry("tick", notes, "0.1")
    daemon = make_daemon(WORKER + hourly + ticks)
    daemon.start()
    pid = daemon.pid_of("beat")
    words = ("--task", "shop.note", "--args", json.dumps([str(notes), "new"]))

    daemon.ctl("beat", "run-now", "hourly")
    wait_until(lambda: runs(notes)["hourly"] == 1, AT_ONCE_S)
    daemon.ctl("beat", "add", "new", "--every", "100ms", *words)
    wait_until(lambda: runs(notes)["new"] >= 2, AT_ONCE_S)
    daemon.ctl("beat", "pause", "new")
    wait_until(lambda: is_silent(notes, "new"), AT_ONCE_S)
    paused = runs(notes)["new"]
    daemon.ctl("beat", "resume", "new")
    wait_until(lambda: runs(notes)["new"] >= paused + 2, AT_ONCE_S)
    daemon.ctl("beat", "remove", "new")
    wait_until(lambda: is_silent(notes, "new"), AT_ONCE_S)

    assert runs(notes)["hourly"] == 1
    assert daemon.pid_of("beat") == pid


def test_a_changed_schedule_of_the_file_is_taken_over_without_a_restart(
    make_daemon: Callable[..., Daemon], notes: Path
) -> None:
    ticks = entry("tick", notes, "0.1")
    daemon = make_daemon(WORKER + ticks + entry("changed", notes, '"1h"') + entry("gone", notes, "0.1"))
    daemon.start()
    wait_until(lambda: runs(notes)["gone"], 20)
    pids = {name: daemon.pid_of(name) for name in ("beat", "main-1")}
    log = '[log]\nlevel = "error"\n'
    daemon.file.write_text(
        HEAD + WORKER + ticks + entry("changed", notes, "0.1") + entry("new", notes, "0.1") + log
    )

    planned = json.loads(daemon.ctl("plan", "--json").stdout)["programs"]
    daemon.ctl("reload", "--wait")

    wait_until(lambda: runs(notes)["changed"] >= 2 and runs(notes)["new"] >= 2, AT_ONCE_S)
    wait_until(lambda: is_silent(notes, "gone"), AT_ONCE_S)
    assert {each["action"] for each in planned} == {"live"}
    assert {name: daemon.pid_of(name) for name in pids} == pids
    logged = daemon.log.read_text().count(" sent entry=")
    assert not is_silent(notes, "new")
    assert daemon.log.read_text().count(" sent entry=") == logged, "the log level was changed, too"


def test_a_beat_that_is_killed_again_and_again_runs_each_occurrence_once(
    make_daemon: Callable[..., Daemon], notes: Path
) -> None:
    often = entry("often", notes, "0.05", 'missed = "all"', "max_missed = 10000")
    daemon = make_daemon(WORKER + "history = 10000\n" + often)
    daemon.start()
    for _ in range(4):
        pid = daemon.pid_of("beat")
        await_ten_more(notes)
        os.kill(pid, signal.SIGKILL)
        wait_until(partial(has_successor, daemon, pid))
        daemon.wait_ready()
    await_ten_more(notes)
    daemon.ctl("beat", "pause", "often")

    def decided() -> list[dict[str, object]]:
        words = ("beat", "history", "often", "--limit", "10000", "--json")
        return list(json.loads(daemon.ctl(*words).stdout)["decisions"])

    wait_until(lambda: runs(notes)["often"] >= len(decided()), 20)
    dues = sorted(float(str(each["due_at"])) for each in decided())
    steps = {round((after - before) / 0.05) for before, after in itertools.pairwise(dues)}
    assert steps == {1}, "each occurrence is decided once"
    assert {each["outcome"] for each in decided()} <= {"sent", "already sent"}
    assert runs(notes)["often"] == len(dues), "each that was decided ran once"


def await_ten_more(notes: Path) -> None:
    """Wait until the entry ``often`` has run ten times more."""
    before = runs(notes)["often"]
    wait_until(lambda: runs(notes)["often"] >= before + 10)


def has_successor(daemon: Daemon, pid: int) -> bool:
    """Whether another beat runs than this one, which was killed."""
    return daemon.row("beat")["pid"] not in {None, pid}


def is_silent(notes: Path, name: str) -> bool:
    """Whether an entry does not fire any more while ``tick`` does so ten times, at the same interval."""
    before = runs(notes)
    wait_until(lambda: runs(notes)["tick"] >= before["tick"] + 10, 20)
    return runs(notes)[name] == before[name]
