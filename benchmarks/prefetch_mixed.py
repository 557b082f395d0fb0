"""Short and long tasks mixed over two workers: does a short one wait behind a long one while a slot is free?

python -m benchmarks.prefetch_mixed [LONG_S]     (default 2; the aim is stated for 10)

Two workers with two slots each and prefetch "auto".  First a stream that leaves slots free nearly all
the time: 500 tasks of 1 ms a second, and a long one as often as keeps half of the slots busy.  Whenever
a short task waits, the slots that stand idle meanwhile are looked up in what the runs wrote down.  Then
a backlog, once of short tasks alone and once mixed; what counts is the rate for each slot that no long
task holds.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Daemon, daemon, percentile, report, wait_for
from taskd.host import procinfo

SLOTS = 4
SHORTS_A_SECOND = 500
BACKLOG = 8000
#: A slot is free when it runs nothing for longer than the gap between two runs of a full queue.
FREE_AFTER_S = 0.003
#: A short task may wait so long while a slot is free: prefetch "auto" works ahead by as much.
TOLERANCE_S = 0.1

_FILE = """
app = "benchmarks.mixed_tasks:app"
broker = "sqlite://broker.db"
results = "null://"
[supervisor]
control_socket = "taskd.sock"
[log]
level = "error"
[worker.bench]
queues = ["default"]
pool = "prefork"
concurrency = 2
processes = 2
prefetch = "auto"
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One run as the task wrote it down; times are monotonic seconds."""

    kind: str
    number: int
    pid: int
    began: float
    ended: float


@contextmanager
def mixed_daemon(*, start: bool = True) -> Iterator[Daemon]:
    """Run two workers, warmed up with some short tasks so that their run time is known."""
    with daemon(start=False) as taskd:
        taskd.file.write_text(_FILE)
        if start:
            taskd.start()
            taskd.wait_ready()
            app = taskd.app()
            app.send_many([app.call("mixed.short", str(taskd.directory / "warm"), n) for n in range(2000)])
            wait_for(lambda: len(runs_of(taskd.directory / "warm")) == 2000)
        yield taskd


def runs_of(path: Path) -> list[Run]:
    """Return the runs so far."""
    rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    # A line that is being written may be seen in part.
    whole = (row for row in rows if len(row) == 5)
    return [Run(row[0], int(row[1]), int(row[2]), float(row[3]), float(row[4])) for row in whole]


def idle_spans(runs: Sequence[Run], end: float) -> list[tuple[float, float, int]]:
    """Return the times in which a slot was free: from, to, pid."""
    spans = []
    for pid in {run.pid for run in runs}:
        own = sorted((run for run in runs if run.pid == pid), key=lambda run: run.began)
        until = [*(run.began for run in own[1:]), end]
        spans += [
            (run.ended, following, pid)
            for run, following in zip(own, until, strict=True)
            if following - run.ended > FREE_AFTER_S
        ]
    return spans


def stream(long_s: float, seconds: float) -> None:
    """Send the stream and print the worst waits."""
    with mixed_daemon() as taskd:
        app, path = taskd.app(), taskd.directory / "runs"
        sent: dict[int, float] = {}
        began = time.monotonic()
        next_long, longs = 0.5, 0
        while (now := time.monotonic() - began) < seconds:
            batch = []
            while len(sent) < now * SHORTS_A_SECOND:
                batch.append(app.call("mixed.short", str(path), len(sent)))
                sent[len(sent)] = time.monotonic()
            if now >= next_long:
                next_long += long_s / (SLOTS / 2)
                batch.insert(0, app.call("mixed.long", str(path), longs, long_s))
                longs += 1
            app.send_many(batch)
            time.sleep(0.01)
        wait_for(lambda: len(runs_of(path)) == len(sent) + longs, 60 + 3 * long_s, 0.05)
        workers = {
            pid: str(row["name"])
            for row in taskd.rows()
            for pid in procinfo.descendants(int(str(row["pid"])))
        }
        judge_stream(runs_of(path), sent, workers)


def judge_stream(runs: Sequence[Run], sent: Mapping[int, float], workers: Mapping[int, str]) -> None:
    """Print how long short tasks waited, and how much of it a slot was free."""
    shorts = [run for run in runs if run.kind == "short"]
    waits = [run.began - sent[run.number] for run in shorts]
    spans = idle_spans(runs, max(run.ended for run in runs))
    worst_s, witness = 0.0, ""
    for run in shorts:
        if run.began - sent[run.number] <= worst_s:
            continue
        free_s = dict.fromkeys(workers, 0.0)
        for start, end, pid in spans:
            free_s[pid] += max(0.0, min(end, run.began) - max(start, sent[run.number]))
        pid, most_s = max(free_s.items(), key=lambda item: item[1])
        if most_s > worst_s:
            worst_s = most_s
            witness = behind(run, runs, sent[run.number], workers)
            witness += f"; a slot of {workers[pid]} was free for {most_s:.3f} s"
    text = f"p99 wait {percentile(waits, 0.99) * 1000:.0f} ms"
    report(f"stream: {len(shorts)} short and {len(runs) - len(shorts)} long", text)
    report("  worst wait of a short task", f"{max(waits) * 1000:.0f} ms")
    report("  most of a wait with one slot free", f"{worst_s * 1000:.0f} ms", worst_s <= TOLERANCE_S)
    late = sum(wait > TOLERANCE_S for wait in waits)
    report(f"  short tasks that waited over {TOLERANCE_S * 1000:.0f} ms", f"{late / len(waits):.2%}")
    if worst_s > TOLERANCE_S:
        print(f"  trace: {witness}")


def behind(run: Run, runs: Sequence[Run], sent_at: float, workers: Mapping[int, str]) -> str:
    """Say in words what a short task waited behind."""
    longs = [
        f"long {each.number} from {each.began - sent_at:+.3f} to {each.ended - sent_at:+.3f} s"
        f" in {workers.get(each.pid)}"
        for each in runs
        if each.kind == "long" and each.began < run.began and each.ended > sent_at
    ]
    return (
        f"short {run.number}, sent at 0, began at {run.began - sent_at:+.3f} s in {workers.get(run.pid)};"
        f" {', '.join(longs) or 'no long task ran'}"
    )


def backlog(long_s: float, longs: int) -> float:
    """Drain a shuffled backlog; return short tasks a second for each slot that no long task holds."""
    with mixed_daemon() as taskd:
        app, path = taskd.app(), taskd.directory / "runs"
        calls = [app.call("mixed.short", str(path), number) for number in range(BACKLOG)]
        calls += [app.call("mixed.long", str(path), number, long_s) for number in range(longs)]
        random.Random(1).shuffle(calls)
        app.send_many(calls)
        wait_for(lambda: len(runs_of(path)) == BACKLOG + longs, 120 + longs * long_s, 0.05)
        runs = runs_of(path)
    begin = min(run.began for run in runs)
    end = max(run.ended for run in runs if run.kind == "short")
    held_s = sum(max(0.0, min(run.ended, end) - run.began) for run in runs if run.kind == "long")
    free_s = SLOTS * (end - begin) - held_s
    print(
        f"  backlog of {BACKLOG} short and {longs} long: {end - begin:.2f} s, {free_s:.2f} slot seconds free"
    )
    return BACKLOG / free_s


def main() -> None:
    """Print the waits, the rates and the ratio."""
    long_s = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    stream(long_s, 4 * long_s)
    alone = backlog(long_s, 0)
    mixed = backlog(long_s, SLOTS)
    report("short tasks alone, each free slot", f"{alone:,.0f}/s")
    report("short tasks among long ones", f"{mixed:,.0f}/s")
    report("  ratio", f"{mixed / alone:.2f}", mixed / alone >= 0.8)


if __name__ == "__main__":
    main()
