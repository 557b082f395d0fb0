"""The loop of a child: jobs from the data socket, through the target, reports back.

Runs in the process that the template forked; knows nothing of the template.  A single job is reported at
once.  Of many short ones the reports travel together.  Each is at most about 1 ms late unless the next job
turns out long (then the pool finds them in the shared slot).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from taskd.base import clock, exit_codes
from taskd.base.errors import SoftTimeLimitExceeded
from taskd.host import stacks
from taskd.pools.base import Broken, Done, Job, Target
from taskd.pools.prefork.last_lines import keep
from taskd.pools.prefork.slot import (
    BEGUN,
    HOLD,
    NOTED,
    SAID,
    SINCE,
    SOFTEN,
    SOFTEN_SIGNAL,
    ReportWriter,
    Slot,
)
from taskd.pools.prefork.wire import FrameReader, Report, SkippedJob, decode_jobs

_FLUSH_EVERY_S = 0.001


def nothing() -> None:
    """Do nothing at the beginning or the end of a child."""


@dataclass(frozen=True, slots=True)
class ChildProgram:
    """The program of a child.

    ``target`` is None where the child is to ``load`` it.  ``begin`` is called before the first job, ``end``
    after the last when the child ends in order; neither may raise.  ``born`` gets the number of the child,
    right after the fork.  ``soft_limit`` returns what is raised in a job at its soft limit.
    """

    target: Target | None
    load: Callable[[], Target]
    begin: Callable[[], None] = nothing
    end: Callable[[], None] = nothing
    born: Callable[[int], None] = lambda _number: None
    soft_limit: Callable[[], type[Exception]] = lambda: SoftTimeLimitExceeded


def run_child(program: ChildProgram, sock: socket.socket, slot_fd: int) -> NoReturn:
    """Run jobs until the pool closes its end, then leave the process.  Never returns.

    A child that loads its target itself says so by a frame without reports, and exits with ``APP_BROKEN``
    if that fails.
    """
    status = exit_codes.FAILURE
    slot = Slot(slot_fd)
    try:
        keep(slot)
        target = program.target
        if target is None:
            stacks.write_at_a_crash(slot_fd)
            status = exit_codes.APP_BROKEN
            target = program.load()
            status = exit_codes.FAILURE
        program.begin()
        # The descriptor stays open for faulthandler, which writes from a signal handler.
        stacks.write_at_a_crash(slot_fd)
        child = _Child(target, sock, slot, program.soft_limit())
        if program.target is None:
            child.announce()
        child.serve()
        program.end()
        status = exit_codes.OK
    except ConnectionError:
        status = exit_codes.OK  # the worker has gone while its reports were being sent
    except BaseException:  # noqa: BLE001 - nothing is above this frame that could report it
        traceback.print_exc()
    finally:
        leave(status)


def leave(status: int) -> NoReturn:
    """End the process after flushing its standard streams; no atexit handler of the template runs."""
    _flush_streams()
    os._exit(status)


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # a reader that went away, a stream that the job closed or took away


class _Child:
    def __init__(self, target: Target, sock: socket.socket, slot: Slot, soft_limit: type[Exception]) -> None:
        self._target = target
        self._soft_limit = soft_limit
        self._sock = sock
        self._slot = slot
        self._reader = FrameReader(sock)
        self._reports = ReportWriter(slot, sock)
        self._begun = 0
        self._flushed = 0.0
        self._soft_armed = False
        self._in_job = False
        #: On in a process that a job forked and that came back here instead of exiting.
        self._is_copy = False

    def announce(self) -> None:
        """Tell the pool that jobs can come."""
        self._reports.announce()

    def serve(self) -> None:
        os.register_at_fork(after_in_child=self._become_copy)
        signal.signal(SOFTEN_SIGNAL, self._on_soften)
        while True:
            frames = self._reader.receive()
            if frames is None:
                return
            self._flushed = clock.monotonic()
            for frame in frames:
                self._run_batch(decode_jobs(frame))
            _flush_streams()

    def _become_copy(self) -> None:
        """Let go of the pool in a process that the running job has forked."""
        self._is_copy = True
        self._sock.close()

    def _run_batch(self, jobs: list[Job]) -> None:
        words = self._slot.words
        times = self._slot.times
        reports = self._reports
        now = clock.monotonic()
        for job in jobs:
            if now - self._flushed >= _FLUSH_EVERY_S:
                reports.flush()
                self._flushed = now
            self._begun += 1
            times[SINCE] = now
            words[SAID] = words[NOTED]
            words[BEGUN] = self._begun
            # HOLD is read after BEGUN is written: see "Taking back" in slot.
            report = SkippedJob(job.tag) if self._begun <= words[HOLD] else self._run(job, now)
            if self._is_copy:
                leave(exit_codes.OK)
            reports.append(report)
            now = clock.monotonic()
        reports.flush()

    def _run(self, job: Job, begun: float) -> Report:
        reply: object = None
        try:
            self._in_job = True
            reply = self._run_limited(job) if job.soft_limit_s else self._target(job.payload)
            self._in_job = False
        except BaseException:  # noqa: BLE001 - SystemExit of a job must not end the child either
            self._in_job = False
            if reply is None:  # otherwise it was softened in the instant after the target had returned
                return Broken(job.tag, traceback.format_exc())
        if type(reply) is not bytes:
            return Broken(job.tag, f"the target returned {type(reply).__name__}, expected bytes")
        return Done(job.tag, reply, clock.monotonic() - begun)

    def _run_limited(self, job: Job) -> bytes:
        """Run the target under an alarm.  The handler is set each time: a job may replace it."""
        reply: bytes | None = None
        former = signal.signal(signal.SIGALRM, self._on_alarm)
        try:
            self._soft_armed = True
            signal.setitimer(signal.ITIMER_REAL, job.soft_limit_s)
            try:
                reply = self._target(job.payload)
            finally:
                self._soft_armed = False
                signal.setitimer(signal.ITIMER_REAL, 0)
        except self._soft_limit:
            self._soft_armed = False
            if reply is None:  # otherwise it fired in the instant after the target had returned
                raise
        finally:
            signal.signal(signal.SIGALRM, former)
        return reply

    def _on_soften(self, _number: int, _frame: FrameType | None) -> None:
        if self._in_job and self._slot.words[SOFTEN] == self._begun:
            self._slot.words[SOFTEN] = 0
            raise self._soft_limit("this task was asked to end")

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        if self._soft_armed:
            self._soft_armed = False
            raise self._soft_limit("the soft time limit of this task passed")
