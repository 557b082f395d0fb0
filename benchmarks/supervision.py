"""The supervisor by itself: memory, wake-ups, 200 programs, replacement; supervisord and circus beside it.

The programs are `sleep`, so that only the supervisor is measured.  The peers come with the extra
``peers``; a peer that is not installed is left out and named.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import cpu_s, daemon, environment, median, percentile, report, wait_for
from taskd.host import procinfo
from taskd.supervisor.control.client import ControlClient

MANY = int(os.environ.get("BENCH_PROGRAMS", "200"))
IDLE_S = float(os.environ.get("BENCH_IDLE_S", "20"))
KILLS = 20
REST_S = 0.1
ASKED = 20
SLEEP = ("/bin/sleep", "100000")


@dataclass(frozen=True)
class Running:
    """A supervisor at work, and the question that its command line tool asks for the state of all."""

    pid: int
    ask: Callable[[], object]

    def children(self) -> set[int]:
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as file:
            return {int(pid) for pid in file.read().split()}


@contextlib.contextmanager
def started(command: list[str], directory: Path) -> Iterator[int]:
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log, env=environment())
    try:
        yield process.pid
    finally:
        below = procinfo.descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pid in below:  # not every peer ends what it started
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def taskd(directory: Path, count: int) -> Iterator[Running]:
    (directory / "taskd.toml").write_text(
        f'[supervisor]\ncontrol_socket = "s"\n[program.p]\ncommand = ["{SLEEP[0]}", "{SLEEP[1]}"]\n'
        f"processes = {count}\n"
    )
    command = [sys.executable, "-m", "taskd", "--config", "taskd.toml"]
    with started(command, directory) as pid:

        def ask() -> object:
            with ControlClient(str(directory / "s")) as client:
                return client.call("status")

        yield Running(pid, ask)


@contextlib.contextmanager
def supervisord(directory: Path, count: int) -> Iterator[Running]:
    (directory / "s.conf").write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={directory}/s.log\npidfile={directory}/s.pid\n"
        f"[unix_http_server]\nfile={directory}/s.sock\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[program:p]\ncommand={' '.join(SLEEP)}\nnumprocs={count}\n"
        "process_name=%(program_name)s_%(process_num)03d\n"
    )
    with started([sys.executable, "-m", "supervisor.supervisord", "-c", "s.conf"], directory) as pid:

        def ask() -> object:
            from xmlrpc.client import ServerProxy

            from supervisor.xmlrpc import SupervisorTransport

            transport: Any = SupervisorTransport(None, None, f"unix://{directory}/s.sock")
            return ServerProxy("http://localhost", transport).supervisor.getAllProcessInfo()

        yield Running(pid, ask)


@contextlib.contextmanager
def circus(directory: Path, count: int) -> Iterator[Running]:
    (directory / "c.ini").write_text(
        f"[circus]\nendpoint=ipc://{directory}/e\npubsub_endpoint=ipc://{directory}/p\n"
        f"[watcher:p]\ncmd={SLEEP[0]}\nargs={SLEEP[1]}\nnumprocesses={count}\nwarmup_delay=0\n"
    )
    with started([sys.executable, "-m", "circus.circusd", "c.ini"], directory) as pid:

        def ask() -> object:
            from circus.client import CircusClient

            client: Any = CircusClient(endpoint=f"ipc://{directory}/e")
            try:
                return client.send_message("list", name="p")
            finally:
                client.stop()

        yield Running(pid, ask)


KINDS = {"taskd": taskd, "supervisord": supervisord, "circus": circus}
MODULES = {"taskd": "taskd", "supervisord": "supervisor", "circus": "circus"}


def switches(pid: int) -> int:
    """Return how often the process has gone to sleep, which is how often it was woken."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("voluntary_")))


def alone(kind: str) -> tuple[float, float]:
    """Return PSS in MB, and wake-ups a second, of the supervisor with one idle program."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        KINDS[kind](Path(name), 1) as running,
    ):
        wait_for(lambda: len(running.children()) == 1)
        time.sleep(5)  # start-up is over
        before = switches(running.pid)
        time.sleep(IDLE_S)
        return procinfo.pss_bytes(running.pid) / 1e6, (switches(running.pid) - before) / IDLE_S


@dataclass(frozen=True)
class Crowd:
    """How a supervisor fares with many programs."""

    start_s: float
    idle: float
    status_s: float
    noticed_s: list[float]
    replaced_s: list[float]
    burst_s: float
    pss_mb: float


def crowd(kind: str) -> Crowd:
    """Run many programs: start them, rest, ask for all of them, kill some."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        begun = time.monotonic()
        with KINDS[kind](Path(name), MANY) as running:
            wait_for(lambda: len(running.children()) == MANY, 120)
            start_s = time.monotonic() - begun
            time.sleep(8)  # all count as started for long
            before = cpu_s([running.pid])
            time.sleep(IDLE_S)
            idle = (cpu_s([running.pid]) - before) / IDLE_S
            status = [timed(running.ask) for _ in range(ASKED)]
            victims = sorted(running.children())[:KILLS]
            deaths = [replacement(running, victim) for victim in victims]
            noticed, replaced = [each[0] for each in deaths], [each[1] for each in deaths]
            burst_s = timed(lambda: replace_at_once(running))
            pss_mb = procinfo.pss_bytes(running.pid) / 1e6
            return Crowd(start_s, idle, median(status), noticed, replaced, burst_s, pss_mb)


def timed(action: Callable[[], object]) -> float:
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def replacement(running: Running, victim: int) -> tuple[float, float]:
    """Return the seconds from the death of a program until it is reaped and until its successor runs.

    The supervisor has come to rest from the former death.
    """
    time.sleep(REST_S)
    there = running.children()
    killed = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{victim}").exists(), 60, pause_s=0.0002)
    noticed = time.monotonic() - killed
    wait_for(lambda: running.children() - there, 60, pause_s=0.0002)
    return noticed, time.monotonic() - killed


def replace_at_once(running: Running) -> None:
    """Kill many programs in one moment and wait until all are replaced."""
    there = running.children()
    for victim in sorted(there)[:KILLS]:
        os.kill(victim, signal.SIGKILL)
    wait_for(lambda: len(running.children() - there) == KILLS, 60, pause_s=0.0002)


def worker_ready() -> list[float]:
    """Return the seconds from the death of a worker to the readiness of its successor."""
    found = []
    with daemon() as taskd:
        for _ in range(5):
            with ControlClient(str(taskd.directory / "taskd.sock")) as client:

                def row(client: ControlClient = client) -> dict[str, Any]:
                    answer: Any = client.call("status")
                    first: dict[str, Any] = answer["programs"][0]
                    return first

                time.sleep(6)  # a life that was long enough is followed by a start at once
                pid = row()["pid"]
                killed = time.monotonic()
                os.kill(pid, signal.SIGKILL)
                # One answer at a time: the state of one and the pid of the next would be of two processes.
                wait_for(lambda: is_successor(row(), pid), 60, pause_s=0.002)  # noqa: B023
                found.append(time.monotonic() - killed)
    return found


def is_successor(row: dict[str, Any], former: int) -> bool:
    return bool(row["state"] == "READY" and row["pid"] != former)


def spread(seconds: list[float]) -> str:
    p90 = percentile(seconds, 0.9)
    return f"p50 {median(seconds) * 1e3:.1f} ms, p90 {p90 * 1e3:.1f} ms, worst {max(seconds) * 1e3:.1f} ms"


def main() -> None:
    """Print the figures."""
    for kind in KINDS:
        if importlib.util.find_spec(MODULES[kind]) is None:
            report(kind, "not installed: pip install '.[peers]'")
            continue
        is_ours = kind == "taskd"
        pss_mb, wakeups = alone(kind)
        report(f"{kind}: PSS alone", f"{pss_mb:.1f} MB", pss_mb <= 20 if is_ours else None)
        report(f"{kind}: wake-ups when idle", f"{wakeups:.2f}/s", wakeups < 0.2 if is_ours else None)
        many = crowd(kind)
        report(f"{kind}: {MANY} programs run after", f"{many.start_s:.2f} s; PSS {many.pss_mb:.1f} MB")
        report(
            f"{kind}: {MANY} programs, idle",
            f"{many.idle * 100:.2f} % CPU",
            many.idle < 0.01 if is_ours else None,
        )
        report(
            f"{kind}: status of {MANY}",
            f"{many.status_s * 1000:.1f} ms",
            many.status_s < 0.05 if is_ours else None,
        )
        fast = percentile(many.noticed_s, 0.9) < 0.01
        report(f"{kind}: death -> noticed", spread(many.noticed_s), fast if is_ours else None)
        report(f"{kind}: death -> successor runs", spread(many.replaced_s))
        report(f"{kind}: {KILLS} deaths at once -> all replaced", f"{many.burst_s * 1000:.0f} ms")
    ready = worker_ready()
    report("taskd: death of a worker -> successor ready", spread(ready), median(ready) < 0.6)


if __name__ == "__main__":
    main()
