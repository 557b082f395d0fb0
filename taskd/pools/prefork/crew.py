"""Keeps the template and the wanted number of children alive; reads what they report.

Decides when processes start and end.  The pool (``pool``) decides which job goes where.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from taskd.base import exit_codes
from taskd.base.errors import PoolError, StartError
from taskd.base.loop import Loop, Owner
from taskd.host.priority import nice_of, step_back
from taskd.host.resident import private_bytes
from taskd.pools.prefork import wire
from taskd.pools.prefork.events import CrewEvents
from taskd.pools.prefork.handle import Child
from taskd.pools.prefork.last_lines import last_lines
from taskd.pools.prefork.launcher import Template, TemplateProgram
from taskd.pools.prefork.pause import BACKOFF, ForkPause

#: How long to wait for the template's word on how a child died.  Its successor does not wait for it, and
#: without it a death on a busy machine would be called SIGKILL.
_EXIT_REPORT_S = 0.5
#: A child that hangs up without dying has lost its descriptors to its job, and is of no use.
_HANG_UP_S = 0.05
#: Forks asked for at the same time, so that the control socket cannot fill.
_FORKS_ASKED = 16

_logger = logging.getLogger(__name__)


class Crew:
    """The processes of one prefork pool."""

    def __init__(self, loop: Loop, program: TemplateProgram, events: CrewEvents, most_jobs: int = 0) -> None:
        """``most_jobs`` is how many each child may be sent in its life; 0: any number."""
        self._loop = loop
        self._most_jobs = most_jobs
        self._program = program
        self._events = events
        self._template: Template | None = None
        self._loaded = False
        self._ever_loaded = False
        #: Why the children are to load the task code themselves; None while the template does.
        self._unfit: str | None = None
        #: The present template is about to end for that reason.
        self._is_unfit = False
        self._nice = 0
        #: Whether a child of a template of the present kind could take jobs.
        self._ever_able = False
        #: Whether the machine has refused a fork since there were all children.
        self._refused = False
        #: Whether there were all children once, or no more could be had.
        self.settled = False
        self._failure: tuple[str, str] | None = None
        self._template_deaths = 0
        self._pause = ForkPause(loop, self.muster)
        self._ending = False
        self.wanted = 0
        #: All children that are not known to be dead, by number.
        self.children: dict[int, Child] = {}
        self._dying: dict[int, Child] = {}

    # -- template --------------------------------------------------------------------------

    def start(self) -> None:
        """Start the template.  Raises: ``StartError``."""
        program = self._program if self._unfit is None else replace(self._program, preload=wire.BARE)
        self._template = Template(self._loop, program, self._on_message, self._on_template_exit)

    @property
    def template_pid(self) -> int:
        """The template's pid; 0 while there is none."""
        return self._template.pid if self._template is not None else 0

    @property
    def preloads(self) -> bool:
        """Whether the children begin with the task code that the template has loaded."""
        return self._unfit is None

    @property
    def stopped(self) -> bool:
        """Whether every process has ended, after ``end`` or ``kill``."""
        return self._ending and self._template is None and not self.children and not self._dying

    def _on_message(self, message: wire.ControlMessage, fds: Sequence[int]) -> None:
        if self._ending:
            for fd in fds:
                os.close(fd)
            return
        try:
            self._take(message, fds)
        except (PoolError, LookupError) as error:
            _logger.error("template speaks nonsense and is ended pid=%d: %r", self.template_pid, error)
            if self._template is not None:
                self._template.kill()

    def _take(self, message: wire.ControlMessage, fds: Sequence[int]) -> None:
        match message:
            case wire.Loaded():
                self._loaded = True
                self._ever_loaded = True
                hello = wire.blob_from_descriptor(fds[0])
                if self._unfit is None:
                    self._events.on_hello(hello)
                self.muster()
            case wire.Unfit(reason=reason):
                self._ever_loaded = True
                self._unfit = reason
                self._is_unfit = True
                self._ever_able = False
                self._nice = nice_of(self.template_pid)
                self._events.on_hello(wire.blob_from_descriptor(fds[0]))
            case wire.Failed(reason=reason):
                detail = wire.blob_from_descriptor(fds[0]).decode("utf-8", "replace")
                self._failure = (reason, detail)
            case wire.Forked(number=number, pid=pid):
                self._on_forked(self.children[number], pid, fds[0])
            case wire.ForkFailed(number=number, reason=reason):
                self.settled = True
                self._refused = True
                self._pause.fork_failed(f"{len(self.active())} of {self.wanted} are there; {reason}")
                self._drop_unborn(number)
                self._events.on_short()
            case wire.Exited(number=number):
                child = self._dying.get(number) or self.children.get(number)
                if child is not None and child.pid == message.pid:  # or it came too late
                    child.exited = message
                    if number in self._dying:
                        self._bury(child)
            case _:
                raise PoolError(f"the template sent {message!r}")

    def _on_template_exit(self, exit_code: int, signum: int) -> None:
        pid = self.template_pid
        self._template = None
        self._loaded = False
        for child in list(self.children.values()):
            if child.pid:
                child.signal(signal.SIGKILL)  # PDEATHSIG does the same, unless a job has cleared it
            else:
                self._drop_unborn(child.number)
        if self._ending:
            return
        if self._is_unfit:
            self._is_unfit = False
            self._restart_template()
            # This process has come forward by now, so that it can not be left to inheritance.
            if pid := self.template_pid:
                step_back(pid, self._nice)
            return
        how = f"signal={signum}" if signum else f"exit_code={exit_code}"
        _logger.warning("template ended pid=%d %s", pid, how)
        if self._failure is not None:
            self._events.on_failed(*self._failure)
        elif not self._ever_loaded:
            self._events.on_failed(f"the template ended ({how}) before the task code was loaded", "")
        else:
            self._template_deaths += 1
            self._loop.call_later(BACKOFF.delay_s(self._template_deaths), self._restart_template)

    def _restart_template(self) -> None:
        if self._ending or self._template is not None:
            return
        try:
            self.start()
        except StartError as error:
            self._events.on_failed(str(error), "")

    # -- children --------------------------------------------------------------------------

    @property
    def living(self) -> bool:
        """Whether any child is left, even one that is only to be reaped."""
        return bool(self.children or self._dying)

    def active(self) -> list[Child]:
        """Return the children that take jobs now."""
        return [child for child in self._staying() if child.able]

    def _staying(self) -> list[Child]:
        children = self.children.values()
        return [child for child in children if not child.retiring and child.heir_of is None]

    @property
    def complete(self) -> bool:
        """Whether all wanted children are there."""
        return self._loaded and len(self.active()) >= self.wanted

    def muster(self) -> None:
        """Fork or retire until the wanted number is there; called again on every change."""
        staying = self._staying()
        surplus = len(staying) - self.wanted
        if surplus > 0:
            for child in sorted(staying, key=lambda child: len(child.in_hand))[:surplus]:
                self.retire(child)
        starting = sum(1 for child in staying if not child.pid)
        while surplus < 0 and starting < _FORKS_ASKED and self.fork():
            surplus += 1
            starting += 1

    def fork(self) -> Child | None:
        """Ask for one more child; None when that is not possible now."""
        if self._template is None or not self._loaded or self._pause.on:
            return None
        number = 1
        while number in self.children or number in self._dying:
            number += 1
        child = Child(number, self._most_jobs, loads=self._unfit is not None)
        if not self._template.fork(number, *child.passed_fds()):
            child.close()
            return None
        self.children[number] = child
        return child

    def _succeed(self, child: Child) -> None:
        """Put the heir of a lost child into its place.  A child whose heir was lost looks for another."""
        heir = child.release_heir()
        if heir is not None and heir.able:
            self._events.on_child(heir)
        elder = child.heir_of
        if elder is not None:
            elder.release_heir()
            self._events.on_heir(elder)

    def _drop_unborn(self, number: int) -> None:
        child = self.children.pop(number)
        child.close()
        self._succeed(child)

    def retire(self, child: Child) -> None:
        """Have the child end when it has reported the jobs in its hands."""
        child.retiring = True
        heir = child.release_heir()
        if heir is not None:
            self.retire(heir)
        if child.pid and not child.in_hand:
            child.finish()

    def _on_forked(self, child: Child, pid: int, pidfd: int) -> None:
        child.pid = pid
        child.pidfd = pidfd
        child.close_passed()
        self._pause.forked()
        owner = self._owner_of(child)
        self._loop.add_reader(pidfd, partial(self._on_dead, child), owner)
        self._loop.add_reader(child.sock.fileno(), partial(self._on_readable, child), owner)
        if child.retiring:
            child.finish()
        if child.able:
            self._on_able(child)
        self.muster()

    def _owner_of(self, child: Child) -> Owner:
        """Return what pays for an unforeseen error in reading a child: the child; its jobs get an end."""

        def fail(_why: str) -> None:
            if self._dying.get(child.number) is child:
                self._loop.call_later(_EXIT_REPORT_S, partial(self._bury, child))
            else:
                child.signal(signal.SIGKILL)

        return Owner(f"pool child {child.pid}", fail, again=True)

    def _on_able(self, child: Child) -> None:
        """A child can take jobs."""
        if self._unfit is not None and not self._ever_able:
            _say_what_it_costs(self._unfit, child)
        self._ever_able = True
        if child.retiring:
            return
        if child.heir_of is not None:
            self._events.on_heir(child.heir_of)
        else:
            if self.complete:
                self.settled = True
                if self._refused:
                    self._refused = False
                    _logger.info("all %d children are there", self.wanted)
            self._events.on_child(child)

    def write_when_possible(self, child: Child) -> None:
        """Go on writing what ``child.send`` could not."""

        def write() -> None:
            if child.write():
                self._loop.remove_writer(child.sock.fileno())

        self._loop.add_writer(child.sock.fileno(), write)

    def _on_readable(self, child: Child) -> None:
        self._read(child)

    def _read(self, child: Child) -> bool:
        """Read once; False when there is nothing to read now or ever."""
        was_able = child.able
        try:
            received = child.receive()
        except BlockingIOError:
            return False
        if received is None:
            self._loop.remove_reader(child.sock.fileno())
            self._loop.call_later(_HANG_UP_S, partial(child.signal, signal.SIGKILL))
            return False
        if received[0]:
            self._template_deaths = 0
            self._pause.forgive()
        if child.able and not was_able and not child.dead:
            self._on_able(child)
        self._events.on_reports(child, *received)
        if child.number in self.children and child.nonsense:
            self._loop.remove_reader(child.sock.fileno())
        return child.number in self.children and not child.nonsense  # it may have been killed in there

    def _on_dead(self, child: Child) -> None:
        child.dead = True
        while self._read(child):
            pass  # reports that were under way when it died
        if child.number not in self.children:
            return
        self._loop.remove_reader(child.sock.fileno())
        self._loop.remove_writer(child.sock.fileno())
        self._loop.remove_reader(child.pidfd)
        self._dying[child.number] = self.children.pop(child.number)
        self._events.on_reports(child, *child.rescue())
        if child.number not in self._dying:
            return
        if not child.begun and not child.retiring:
            self._pause.died_early()
        self._succeed(child)
        self.muster()
        if child.exited is not None or self._template is None:
            self._bury(child)
        else:
            self._loop.call_later(_EXIT_REPORT_S, partial(self._bury, child))

    def _bury(self, child: Child) -> None:
        if self._dying.get(child.number) is not child:
            return  # done already; the number may belong to another by now
        del self._dying[child.number]
        self._events.on_gone(child)
        exited = child.exited
        if not self._ever_able and exited is not None and exited.exit_code == exit_codes.APP_BROKEN:
            self._events.on_failed("the task code loads, but not again in a child", last_lines(child.slot))
        child.close()
        self.muster()

    # -- the end ---------------------------------------------------------------------------

    def end(self) -> None:
        """End the template; for a crew that has no child any more."""
        self._ending = True
        if self._template is not None:
            self._template.kill()

    def kill(self) -> None:
        """End every process at once; nothing is reported any more."""
        self.end()
        self.wanted = 0
        for child in [*self.children.values(), *self._dying.values()]:
            child.signal(signal.SIGKILL)
            if child.number in self.children:
                self._loop.remove_reader(child.sock.fileno())
                self._loop.remove_writer(child.sock.fileno())
                self._loop.remove_reader(child.pidfd)
            child.close()
        self.children.clear()
        self._dying.clear()


def _say_what_it_costs(why: str, child: Child) -> None:
    _logger.info(
        "each child imports the task code for itself: %s; it takes start_ms=%d private_mib=%d for each "
        "(docs/pools.md, preload)",
        why,
        child.start_s * 1000,
        private_bytes(child.pid) >> 20,
    )
