"""Where the time between send and start goes, step by step: one after the other, and after a rest.

The kernel's own trace (tracefs, so as root) says when each process called, woke and was woken; nothing is
added to the programs.  Below stands what the same machine makes of work that has nothing to do with taskd:
a fixed piece of Python, and a byte through a socket to another process and back.
"""

from __future__ import annotations

import email.message
import fractions
import json
import os
import re
import socket
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from benchmarks.harness import RESTS, Daemon, daemon, delays, deliveries, median, report, report_delays
from tests.services import RedisServer, rabbit_server, rabbit_url

SAMPLES = int(os.environ.get("BENCH_SAMPLES", "300"))
_TRACING = Path("/sys/kernel/tracing")
#: The name of each call as the trace prints it, on every processor type.
_CALLS = ("sendto", "recvfrom", "epoll_wait", "epoll_pwait")
_BUFFER_KB = 20_000
_LINE = re.compile(r"-(\d+)\s+\[\d+\].*?\s(\d+\.\d+): (?:sys_(\w+?)(\(| -> )|sched_waking: .* pid=(\d+) )")


@dataclass(frozen=True, slots=True)
class Event:
    """At ``at`` (monotonic) the process ``pid`` entered or left a call, or woke the process ``woken``."""

    at: float
    pid: int
    what: str
    woken: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """A step ends with the first such event after the step before; ``woken`` if it is to wake that role."""

    name: str
    role: str
    what: str
    woken: str = ""


_FIRST_LINE = "child: decode, first line of the task"
_SLEEPS = "leave epoll"
#: The server is one thread: what it does for the sender and for the worker can be told apart.
REDIS = (
    Step("sender: compose the message", "sender", "enter sendto"),
    Step("server: wakes", "server", _SLEEPS),
    Step("server: store it, tell the worker", "server", "wake", "worker"),
    Step("worker: wakes", "worker", _SLEEPS),
    Step("worker: read the news, ask", "worker", "enter sendto"),
    Step("server: wakes, claims, answers", "worker", "enter recvfrom"),
    Step("worker: decode, decide, choose a child", "worker", "enter sendto"),
    Step("child: wakes", "child", "leave recvfrom"),
)
RABBITMQ = (
    Step("sender: compose the message", "sender", "enter sendto"),
    Step("server: store, deliver; worker: wakes", "worker", _SLEEPS),
    Step("worker: decode, decide, choose a child", "worker", "enter sendto"),
    Step("child: wakes", "child", "leave recvfrom"),
)


@contextmanager
def traced(pids: Sequence[int]) -> Iterator[Path]:
    """Trace these processes into a buffer of our own, which other users of the trace do not see."""
    own = _TRACING / "instances" / f"taskd-{os.getpid()}"
    own.mkdir()
    try:
        (own / "trace_clock").write_text("mono")
        (own / "buffer_size_kb").write_text(str(_BUFFER_KB))
        (own / "set_event_pid").write_text(" ".join(map(str, pids)))
        for call in _CALLS:
            for edge in ("enter", "exit"):
                switch = own / "events/syscalls" / f"sys_{edge}_{call}" / "enable"
                if switch.exists():
                    switch.write_text("1")
        (own / "events/sched/sched_waking/enable").write_text("1")
        yield own / "trace"
    finally:
        own.rmdir()


def events(trace: Path) -> list[Event]:
    """Return what was traced, in order."""
    found = []
    for line in trace.read_text().splitlines():
        match = _LINE.search(line)
        if match is None:
            continue
        pid, at, call, edge, woken = match.groups()
        if woken is not None:
            found.append(Event(float(at), int(pid), "wake", int(woken)))
        else:
            verb = "enter" if edge == "(" else "leave"
            # Which of the two a C library calls depends on the processor.
            name = "epoll" if call.startswith("epoll") else call
            found.append(Event(float(at), int(pid), f"{verb} {name}"))
    return found


def split(
    happened: Sequence[Event],
    steps: Sequence[Step],
    roles: Mapping[str, set[int]],
    sent: float,
    started: float,
) -> list[float] | None:
    """Return the seconds of each step of one message, the last up to its start; None for an odd one."""
    ends = [sent]
    position = 0
    for step in steps:
        while True:
            if position == len(happened) or happened[position].at > started:
                return None
            event = happened[position]
            position += 1
            if (
                event.at >= ends[-1]
                and event.what == step.what
                and event.pid in roles[step.role]
                and (not step.woken or event.woken in roles[step.woken])
            ):
                ends.append(event.at)
                break
    ends.append(started)
    return [end - begin for begin, end in pairwise(ends)]


def profile(
    taskd: Daemon, server_pid: int, steps: Sequence[Step], rest_s: float
) -> tuple[list[list[float]], list[float]]:
    """Return the steps of each message, and the whole delays."""
    roles = {"sender": {os.getpid()}, "server": {server_pid}}
    titles = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in taskd.pids()}
    for role in ("worker", "child"):
        roles[role] = {pid for pid, title in titles.items() if f"taskd: {role}" in title}
    with traced([pid for pids in roles.values() for pid in pids]) as trace:
        times = deliveries(taskd, SAMPLES, rest_s)
        found = events(trace)
    messages = []
    first = 0
    for sent, started in times:
        while first < len(found) and found[first].at < sent:
            first += 1
        parts = split(found[first : first + 200], steps, roles, sent, started)
        if parts is not None:
            messages.append(parts)
    return messages, delays(times)


def show(
    name: str,
    open_daemon: Callable[[], AbstractContextManager[Daemon]],
    server_pid: int,
    steps: Sequence[Step],
) -> None:
    """Print the steps over one broker, side by side for both kinds of load."""
    columns: list[list[float]] = []
    for kind, rest_s in RESTS.items():
        with open_daemon() as taskd:
            messages, whole = profile(taskd, server_pid, steps, rest_s)
        if len(messages) < len(whole) // 2:
            print(f"{name}, {kind}: only {len(messages)} of {len(whole)} messages went the usual way")
            return
        columns.append([median(part) for part in zip(*messages, strict=True)])
        report_delays(f"{name}, {kind}, traced", whole)
    for place, step in enumerate([*(step.name for step in steps), _FIRST_LINE]):
        warm, rested = (column[place] * 1e6 for column in columns)
        report(f"  {step}", f"{warm:4.0f} us, {rested:4.0f} us after a rest ({rested / warm:.1f} x)")


# -- what the machine makes of work that is not ours ---------------------------------------------


def _python_work() -> None:
    """Run a fixed piece of the standard library, wide enough to fill the nearest caches."""
    json.loads(json.dumps({"a": [1, 2, 3], "b": {"c": "d"}}))
    str(uuid.uuid4())
    str(fractions.Fraction(3, 4) + 1)
    textwrap.dedent("  a\n  b")
    message = email.message.Message()
    message["a"] = "b"
    message.as_string()


def _timed(work: Callable[[], object], rest: Callable[[], object]) -> float:
    """Return the median of the seconds that ``work`` takes after each ``rest``."""
    found = []
    for _ in range(SAMPLES):
        rest()
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return median(found)


def _spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@contextmanager
def _echo() -> Iterator[Callable[[], object]]:
    """Fork a process that sends back what it gets; yield what asks it once."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        while data := theirs.recv(1):
            theirs.send(data)
        os._exit(0)
    theirs.close()

    def ask() -> None:
        ours.send(b"x")
        ours.recv(1)

    try:
        yield ask
    finally:
        ours.close()
        os.waitpid(pid, 0)


def show_machine() -> None:
    """Print what a rest costs work that has nothing to do with taskd."""
    rest_s = max(RESTS.values())
    with _echo() as ask:
        for name, work in (("fixed Python work", _python_work), ("socket there and back", ask)):
            warm = _timed(work, lambda: None)
            rested = _timed(work, partial(time.sleep, rest_s))
            busy = _timed(work, partial(_spin, rest_s))
            text = f"{warm * 1e6:4.0f} us, {rested * 1e6:4.0f} us after a rest ({rested / warm:.1f} x)"
            report(f"machine: {name}", f"{text}, {busy * 1e6:4.0f} us after as long a loop")


def main() -> None:
    """Print the steps over Redis and over RabbitMQ, and the machine's own part."""
    if not os.access(_TRACING / "instances", os.W_OK):
        print("the kernel's trace cannot be used: run this as root with tracefs mounted", file=sys.stderr)
        return
    server = RedisServer()
    assert server.process is not None
    try:
        show("Redis", partial(daemon, url=server.url), server.process.pid, REDIS)
    finally:
        server.end()
    rabbit = rabbit_server().process
    assert rabbit is not None
    over_rabbit = partial(daemon, url=rabbit_url(), results="sqlite://results.db")
    show("RabbitMQ", over_rabbit, rabbit.pid, RABBITMQ)
    show_machine()


if __name__ == "__main__":
    main()
