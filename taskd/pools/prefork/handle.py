"""One child as the pool knows it: its socket, its shared slot, and the jobs in its hands.

Numbers of jobs are those of ``slot``: ``finished`` of them were reported, ``begun`` stands in the
shared memory, ``in_hand[0]`` is number ``finished + 1``.  Nothing here blocks or decides, but that a
child whose words make no sense is killed.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Sequence

from taskd.base import clock
from taskd.base.errors import PoolError
from taskd.pools.base import ChildEnd, ChildInfo, ChildLost, Done, Job, Outcome, RunningJob
from taskd.pools.prefork import slot as slots
from taskd.pools.prefork import wire
from taskd.pools.prefork.last_lines import last_lines

_logger = logging.getLogger(__name__)


class Child:
    """One child from the moment it is asked for; ``pid`` is 0 until the template has forked it."""

    def __init__(self, number: int, most_jobs: int = 0, *, loads: bool = False) -> None:
        """``most_jobs`` is how many jobs the child may be sent in its life; 0: any number.

        ``loads``: it loads the task code itself, and takes no job before.
        """
        self.number = number
        self.pid = 0
        self._loading = loads
        #: From its birth until it could take jobs.
        self.start_s = 0.0
        self.born = clock.monotonic()
        self.heard = self.born
        self.pidfd = -1
        self.sock, self._theirs = socket.socketpair()
        self.sock.setblocking(False)
        self._slot_fd, self.slot = slots.create()
        self._reader = wire.FrameReader(self.sock)
        self._unwritten: deque[memoryview] = deque()
        #: Jobs sent and not reported, oldest first; None for one that was taken back.
        self.in_hand: deque[Job | None] = deque()
        self.sent = 0
        #: How many jobs more it may be sent.
        self.room = most_jobs or sys.maxsize
        self.finished = 0
        #: Sum of the expected run times in hand.
        self.load_s = 0.0
        #: Ends when idle; gets no new job.
        self.retiring = False
        #: Why it is to be replaced; empty while it is not.
        self.reason = ""
        #: The child that takes its place; until then that one waits and gets no job.
        self.heir: Child | None = None
        self.heir_of: Child | None = None
        #: When its memory was read last (monotonic).
        self.measured = -float("inf")
        #: The process has ended; its last reports are being read.
        self.dead = False
        #: Its words made no sense: it is being killed, and nothing more is read of it.
        self.nonsense = False
        #: Jobs behind the running one are being taken back; gets no new job until it reports.
        self.holding = False
        #: The report on a job for whose sake the child is being killed.
        self.verdicts: dict[int, Outcome] = {}
        self.exited: wire.Exited | None = None

    @property
    def able(self) -> bool:
        """Whether it can take jobs: it has been forked, and has the task code."""
        return bool(self.pid) and not self._loading

    def passed_fds(self) -> tuple[socket.socket, int]:
        """Return the child's end of the data socket, and the slot's memfd."""
        return self._theirs, self._slot_fd

    def close_passed(self) -> None:
        """Close what ``passed_fds`` returned: the child has its own copies now."""
        if self._slot_fd >= 0:
            self._theirs.close()
            os.close(self._slot_fd)
            self._slot_fd = -1

    # -- succession ------------------------------------------------------------------------

    def expect(self, heir: Child) -> None:
        """Name the child that will take this one's place."""
        self.heir = heir
        heir.heir_of = self

    def release_heir(self) -> Child | None:
        """Return the heir, which is a child like any other from now on; None when there is none."""
        heir, self.heir = self.heir, None
        if heir is not None:
            heir.heir_of = None
        return heir

    # -- jobs ------------------------------------------------------------------------------

    def send(self, jobs: Sequence[Job]) -> bool:
        """Hand jobs over in one frame; False when a part of it waits for ``write``."""
        self.in_hand.extend(jobs)
        self.sent += len(jobs)
        self.room -= len(jobs)
        for job in jobs:
            self.load_s += job.expected_s
        self._unwritten.append(memoryview(wire.encode_jobs(jobs)))
        return self.write()

    def write(self) -> bool:
        """Write what the socket takes; True when nothing is left."""
        while self._unwritten:
            view = self._unwritten[0]
            try:
                count = self.sock.send(view)
            except BlockingIOError:
                return False
            except OSError:
                self._unwritten.clear()  # it died: the pidfd tells, and the jobs are put back
                return True
            if count == len(view):
                self._unwritten.popleft()
            else:
                self._unwritten[0] = view[count:]
        return True

    def receive(self) -> tuple[list[Outcome], list[Job]] | None:
        """Read once; return outcomes and the jobs that came back unbegun; None when it hung up.

        A child whose bytes make no sense is killed, and gives what it had said before.
        Raises: ``BlockingIOError``.
        """
        if self.nonsense:
            return None
        try:
            frames = self._reader.receive()
        except ConnectionError:
            return None
        if frames is None:
            return None
        self.heard = clock.monotonic()
        if self._loading and frames:
            self._loading = False
            self.start_s = self.heard - self.born
        outcomes: list[Outcome] = []
        returned: list[Job] = []
        try:
            for frame in frames:
                self._settle(*slots.read_reports(frame), outcomes, returned)
            if self._reader.lost:
                raise PoolError("a frame says that it is longer than any may be")
        except PoolError as error:
            self._refuse(error)
        return outcomes, returned

    def _refuse(self, error: PoolError) -> None:
        _logger.error("child speaks nonsense and is ended pid=%d: %s", self.pid, error)
        self.nonsense = True
        self.holding = True
        self.signal(signal.SIGKILL)

    def overhear(self) -> tuple[list[Outcome], list[Job]] | None:
        """Return what a child inside a long job has finished and not sent yet.

        None when there is nothing certain to say.  Either an earlier message has not been read yet, or it
        went on while its memory was read, as one does that the machine had only put aside.
        """
        begun = self.slot.words[slots.BEGUN]
        outcomes: list[Outcome] = []
        returned: list[Job] = []
        try:
            base, reports = self.slot.unsent()
            if base > self.finished or self.slot.words[slots.BEGUN] != begun:
                return None
            self._settle(base, reports, outcomes, returned)
        except PoolError as error:
            if self.slot.words[slots.BEGUN] == begun:  # else it went on while its memory was read
                self._refuse(error)
            return None
        return outcomes, returned

    def rescue(self) -> tuple[list[Outcome], list[Job]]:
        """Return what a dead child has finished and not sent; everything that it sent has been read."""
        outcomes: list[Outcome] = []
        returned: list[Job] = []
        try:
            if not self.nonsense:
                self._settle(*self.slot.unsent(), outcomes, returned)
        except PoolError as error:
            _logger.error("shared memory of a dead child is damaged pid=%d: %s", self.pid, error)
        return outcomes, returned

    def _settle(
        self, base: int, reports: Sequence[wire.Report], outcomes: list[Outcome], returned: list[Job]
    ) -> None:
        if reports and not self.finished - len(reports) <= base <= self.finished:
            raise PoolError(f"child {self.pid} reports jobs from {base} on, expected from {self.finished} on")
        reports = reports[self.finished - base :]  # earlier ones were rescued already
        in_hand = self.in_hand
        if len(reports) > len(in_hand):
            raise PoolError(f"child {self.pid} reports {len(reports)} jobs and has {len(in_hand)}")
        for job, report in zip(in_hand, reports, strict=False):  # all of them before the first is taken
            if job is not None and job.tag != report.tag:
                raise PoolError(f"child {self.pid} reported job {report.tag} instead of {job.tag}")
            if type(report) is Done and not 0.0 <= report.runtime_s < sys.float_info.max:
                raise PoolError(f"child {self.pid} reported a run of {report.runtime_s} s")
        for report in reports:
            job = in_hand.popleft()
            self.finished += 1
            if job is None:
                continue
            self.load_s -= job.expected_s
            if self.verdicts:
                self.verdicts.pop(job.tag, None)  # it ended before the signal reached it
            if type(report) is wire.SkippedJob:
                returned.append(job)
            else:
                outcomes.append(report)  # type: ignore[arg-type]
        if reports:
            self.holding = False

    def running(self) -> RunningJob | None:
        """Return the job that the child is in, by the shared memory."""
        words = self.slot.words
        begun = words[slots.BEGUN]
        position = begun - self.finished - 1
        if begun <= words[slots.BASE] + (words[slots.FILL] >> 32) or not 0 <= position < len(self.in_hand):
            return None
        job = self.in_hand[position]
        return RunningJob(job.tag, self.pid, self._since()) if job is not None else None

    def _since(self) -> float:
        """When the last job began; its birth where the shared memory says what can not be."""
        since = self.slot.times[slots.SINCE]
        return since if self.born <= since <= clock.monotonic() else self.born

    def soften(self, tag: int) -> bool:
        """Raise the soft limit in the job ``tag`` if the child is in it."""
        running = self.running()
        if running is None or running.tag != tag:
            return False
        position = next(at for at, job in enumerate(self.in_hand) if job is not None and job.tag == tag)
        # The number makes sure that a signal that comes too late strikes nobody else.
        self.slot.words[slots.SOFTEN] = self.finished + position + 1
        self.signal(slots.SOFTEN_SIGNAL)
        return True

    @property
    def begun(self) -> int:
        """How many jobs the child has begun."""
        return int(self.slot.words[slots.BEGUN])

    def hold(self) -> None:
        """Have the child skip every job sent so far that it has not begun; see ``take_back``."""
        self.holding = True
        self.slot.words[slots.HOLD] = self.sent

    def take_back(self) -> list[Job]:
        """Return the jobs that ``hold`` has kept from running; call it some milliseconds later."""
        taken: list[Job] = []
        held = self.slot.words[slots.HOLD] - self.finished
        for position in range(max(0, self.begun - self.finished), min(held, len(self.in_hand))):
            job = self.in_hand[position]
            if job is not None:
                taken.append(job)
                self.load_s -= job.expected_s
                self.in_hand[position] = None
        return taken

    def remains(self) -> tuple[list[Outcome], list[Job]]:
        """Return an outcome for what a dead child was in, and the jobs that it had not begun; once."""
        outcomes: list[Outcome] = []
        waiting: list[Job] = []
        begun = self.begun - self.finished
        for position, job in enumerate(self.in_hand):
            if job is None:
                continue
            if position < begun:
                outcomes.append(self.verdicts.get(job.tag) or self._lost(job))
            else:
                waiting.append(job)
        self.in_hand.clear()
        return outcomes, waiting

    def end(self, outcome: Outcome | None) -> ChildEnd | None:
        """Say how the child ended; None when it left in order."""
        exited = self.exited
        if self.retiring and outcome is None and (exited is None or exited.exit_code == 0):
            return None
        return ChildEnd(
            pid=self.pid,
            # Without the template's word it went with the template.
            exit_code=exited.exit_code if exited is not None else -1,
            signal=exited.signal if exited is not None else signal.SIGKILL,
            max_rss_bytes=exited.max_rss_bytes if exited is not None else 0,
            lived_s=clock.monotonic() - self.born,
            last_words=self.slot.last_words(),
            outcome=outcome,
            began=self._since(),
        )

    def _lost(self, job: Job) -> ChildLost:
        """Say how the child died with ``job``; without the template's word it went with that."""
        exited = self.exited
        return ChildLost(
            job.tag,
            self.pid,
            started=True,
            exit_code=exited.exit_code if exited is not None else -1,
            signal=exited.signal if exited is not None else signal.SIGKILL,
            max_rss_bytes=exited.max_rss_bytes if exited is not None else 0,
            last_words=self.slot.last_words(),
            last_lines=last_lines(self.slot),
        )

    def info(self) -> ChildInfo:
        """Describe it."""
        return ChildInfo(self.pid, self.heard, leaving=self.retiring, heir=self.heir_of is not None)

    # -- the process -----------------------------------------------------------------------

    def signal(self, number: int) -> None:
        """Send a signal to exactly this process; nothing happens when it is gone."""
        if self.pidfd < 0:
            return
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass

    def finish(self) -> None:
        """Let the child exit when it has read everything."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is gone already

    def close(self) -> None:
        """Release the descriptors and the memory."""
        self.close_passed()
        self.sock.close()
        self.slot.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
