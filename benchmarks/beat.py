"""What beat costs: the start with many entries, a tick, an idle hour, and how late runs are at a high rate.

Beside it Celery's beat, where the two can be compared: the start, the time of a tick and the rate of sending,
over kombu's memory transport, which writes nothing; taskd writes each run to the broker's file and to its
own store.
"""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.harness import percentile, report
from taskd.base import clock
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.beat.service import Beat
from taskd.beat.stores.sqlite import SqliteStore
from taskd.beat.surroundings import BeatSurroundings
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.brokers.timing import Timing
from taskd.config.schedule import BeatEntryConfig
from taskd.config.stores import SqliteConfig

MANY = int(os.environ.get("BENCH_ENTRIES", "100000"))
RATE = int(os.environ.get("BENCH_RATE", "1000"))
SPAN_S = float(os.environ.get("BENCH_SPAN", "10"))
_ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo")


def mixed(count: int) -> dict[str, BeatEntryConfig]:
    """Return half intervals, half cron expressions in several zones; none is due soon."""
    entries = {}
    for number in range(count):
        name = f"entry-{number}"
        if number % 2:
            when: dict[str, Any] = {"every": 86_400.0 + number}
        else:
            cron = f"{number % 60} {number // 60 % 24} * * *"
            when = {"cron": cron, "timezone": _ZONES[number // 2 % 4]}
        entries[name] = BeatEntryConfig(name=name, task="t", **when)
    return entries


def beat_in(directory: Path, entries: dict[str, BeatEntryConfig], loop: Loop) -> Beat:
    """Return a beat over files in a directory, not started."""

    def store() -> SqliteStore:
        return SqliteStore(f"sqlite://{directory}/beat.db", SqliteConfig(), 50, Timing())

    around = BeatSurroundings(
        connect=lambda: SqliteBroker(f"sqlite://{directory}/broker.db", SqliteConfig()),
        open_store=store,
        report=lambda line: None,
    )
    return Beat(loop, entries, around)


def measure_start(directory: Path) -> None:
    """Many entries: the first start, the second, and a tick when nothing is due."""
    entries = mixed(MANY)
    for which in ("first", "second"):
        loop = Loop()
        began, began_cpu = time.perf_counter(), time.process_time()
        beat = beat_in(directory, entries, loop)
        beat.start()
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        text = f"{took_s:.2f} s ({cpu_s:.2f} s of processor time)"
        report(f"start with {MANY:,} entries, the {which}", text, took_s < 2.0)
        if which == "second":
            began = time.perf_counter()
            for _ in range(1000):
                beat.tick()
            report(f"a tick, {MANY:,} entries, none due", f"{(time.perf_counter() - began) * 1e3:.0f} µs")
            rss = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            report("memory of this process (RSS)", f"{rss / 2**20:.0f} MiB")
        beat.stop(Deadline.after(0.0))
        loop.close()


def measure_idle(directory: Path) -> None:
    """Nothing due: processor time and context switches over some seconds."""
    loop = Loop()
    beat = beat_in(directory, mixed(1000), loop)
    beat.start()
    before = resource.getrusage(resource.RUSAGE_SELF)
    end = time.monotonic() + SPAN_S
    turns = 0
    while (left_s := end - time.monotonic()) > 0:
        loop.run_once(left_s)
        turns += 1
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report(f"idle for {SPAN_S:g} s", f"{turns} wake-ups, {cpu_s * 1000:.1f} ms of processor time", turns <= 3)
    beat.stop(Deadline.after(0.0))
    loop.close()


def measure_drift(directory: Path) -> None:
    """RATE entries, each once a second, spread over it: how late is each run when it is committed."""
    entries = {
        f"e{number}": BeatEntryConfig(name=f"e{number}", task="t", every=1.0, align=_moment(number / RATE))
        for number in range(RATE)
    }
    loop = Loop()
    beat = beat_in(directory, entries, loop)
    beat.start()
    # As the program does after its start: to look for garbage in all that the measurements before this one
    # have left in this process stops everything for a third of a second.
    gc.freeze()
    began = time.process_time()
    end = time.monotonic() + SPAN_S
    while time.monotonic() < end:
        loop.run_once(0.1)
    cpu_s = time.process_time() - began
    beat.stop(Deadline.after(0.0))
    loop.close()
    url = f"sqlite://{directory}/beat.db"
    with closing(SqliteStore(url, SqliteConfig(), 50, Timing(), listens=False)) as store:
        late = [each.late_s for each in store.history(None, 10_000_000)]
    aim = percentile(late, 0.99) < 0.020
    text = f"p50 {percentile(late, 0.5) * 1e3:.1f} ms, p99 {percentile(late, 0.99) * 1e3:.1f} ms"
    report(f"lateness at {RATE:,} runs a second", text, aim)
    report("  runs, processor", f"{len(late):,} in {SPAN_S:g} s, {cpu_s / SPAN_S:.0%} of a core")


def _moment(offset_s: float) -> str:
    return f"2026-01-01T00:00:00.{int(offset_s * 1e6):06d}Z"


_CELERY = """
import sys, time
from celery import Celery
from celery.beat import Scheduler, ScheduleEntry
from celery.schedules import schedule
many = int(sys.argv[1])
app = Celery(broker="memory://")
app.conf.beat_schedule = {}
scheduler = Scheduler(app, lazy=True)
far = app.now()
began = time.perf_counter()
for number in range(many):
    name = f"e{number}"
    entry = ScheduleEntry(name=name, task="t", schedule=schedule(86400.0 + number, app=app), app=app)
    scheduler.data[name] = entry
scheduler.tick()
print("start", time.perf_counter() - began)
began = time.perf_counter()
for _ in range(100):
    scheduler.tick()
print("tick", (time.perf_counter() - began) / 100)
entries = [
    ScheduleEntry(name=f"s{n}", task="t", schedule=schedule(1.0, app=app), app=app) for n in range(1000)
]
producer = scheduler.producer
scheduler.apply_async(entries[0], producer=producer)
began = time.perf_counter()
for entry in entries:
    scheduler.apply_async(entry, producer=producer)
print("send", (time.perf_counter() - began) / 1000)
"""


def measure_celery() -> None:
    """Celery's scheduler in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _CELERY, str(MANY)], capture_output=True, text=True, check=False, timeout=300
    )
    found = dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2)
    if "send" not in found:
        report("Celery beat", f"did not run: {done.stderr.strip().splitlines()[-1:]}")
        return
    report(f"Celery: start with {MANY:,} entries", f"{float(found['start']):.2f} s")
    report("Celery: a tick, none due", f"{float(found['tick']) * 1e6:.0f} µs")
    rate = 1 / float(found["send"])
    report("Celery: most runs a second, nothing kept", f"{rate:,.0f} (memory transport)")


def measure_rate(directory: Path) -> None:
    """All of RATE * 10 entries due at once: how many a second are sent and recorded."""
    count = RATE * 10
    entries = {f"e{n}": BeatEntryConfig(name=f"e{n}", task="t", every=3600.0) for n in range(count)}
    loop = Loop()
    shift = 0.0
    beat = Beat(
        loop,
        entries,
        BeatSurroundings(
            connect=lambda: SqliteBroker(f"sqlite://{directory}/broker.db", SqliteConfig()),
            open_store=lambda: SqliteStore(f"sqlite://{directory}/beat.db", SqliteConfig(), 50, Timing()),
            report=lambda line: None,
            now=lambda: clock.now() + shift,
        ),
    )
    beat.start()
    shift = 3600.0
    began = time.perf_counter()
    with closing(SqliteBroker(f"sqlite://{directory}/broker.db", SqliteConfig())) as broker:
        desk = broker.desk()
        beat.tick()
        while sum(queue.ready for queue in desk.queues()) < count:
            loop.run_once(1.0)
    report("most runs a second, written and recorded", f"{count / (time.perf_counter() - began):,.0f}")
    beat.stop(Deadline.after(0.0))
    loop.close()


def main() -> None:
    """Measure and print."""
    for measure in (measure_start, measure_idle, measure_drift, measure_rate):
        with tempfile.TemporaryDirectory() as directory:
            measure(Path(directory))
    measure_celery()


if __name__ == "__main__":
    main()
