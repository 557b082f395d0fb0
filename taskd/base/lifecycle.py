"""The life of everything that is started and ended: four verbs, and one kind of deadline.

The verbs are the same everywhere: ``start``, ``quiet``, ``stop`` by a deadline, ``kill``.  A deadline is
absolute monotonic time, computed once at the top and handed down, so that nested waits cannot add up.
Something that only holds a resource, such as a connection, has ``close`` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from taskd.base import clock


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic time; ``until`` may be ``inf`` for "no limit"."""

    until: float

    @classmethod
    def after(cls, delay_s: float) -> Deadline:
        """Return the deadline ``delay_s`` seconds from now."""
        return cls(clock.monotonic() + delay_s)

    def remaining_s(self) -> float:
        """Return the seconds left, never negative."""
        return max(0.0, self.until - clock.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the deadline has been reached."""
        return clock.monotonic() >= self.until


class Service(Protocol):
    """A thing with one life.

    Each verb may come at any time, in any order, and more than once; a verb that has nothing to do does
    nothing.  An end is final: a later start does nothing either.  After ``stop`` or ``kill`` no descriptor,
    timer, thread or process of the service is left.
    """

    def start(self) -> None:
        """Begin to work.  When this raises, nothing is left running."""

    def quiet(self) -> None:
        """Take nothing new.  Never blocks."""

    def stop(self, deadline: Deadline) -> None:
        """Finish what was taken, and end; by the deadline at the latest."""

    def kill(self) -> None:
        """End at once."""


@dataclass(slots=True)
class OneLife:
    """Tells a service its first start and its first end from those that come again or too late."""

    has_ended: bool = False
    _has_begun: bool = False
    _is_quiet: bool = False

    def begin(self) -> bool:
        """Whether the service is to start now."""
        begins = not self._has_begun and not self.has_ended
        self._has_begun = True
        return begins

    def calm(self) -> None:
        """The service takes nothing new from now on."""
        self._is_quiet = True

    def end(self) -> bool:
        """Whether the service, which had started, is to end now."""
        ends = self._has_begun and not self.has_ended
        self.has_ended = True
        return ends

    @property
    def takes(self) -> bool:
        """Whether the service takes something new now."""
        return self._has_begun and not self._is_quiet and not self.has_ended


class Services:
    """Several services with one life: they start in order, and end in reverse."""

    def __init__(self, services: Sequence[Service], attempt: Callable[[Callable[[], None]], object]) -> None:
        """``attempt`` is a barrier, so that one whose end fails costs none of the others its own."""
        self._services = services
        self._attempt = attempt

    def start(self) -> None:
        """Start all; when one does not start, those before it are killed and its error is raised."""
        try:
            for service in self._services:
                service.start()
        except BaseException:
            self.kill()
            raise

    def quiet(self) -> None:
        """Have each take nothing new."""
        for service in self._services:
            self._attempt(service.quiet)

    def stop(self, deadline: Deadline) -> None:
        """Stop all by the deadline."""
        for service in reversed(self._services):
            self._attempt(lambda: service.stop(deadline))  # noqa: B023 - called now

    def kill(self) -> None:
        """End all at once."""
        for service in reversed(self._services):
            self._attempt(service.kill)
