"""Locks and connections over a fork: one mechanism for all objects that hold one.

The child has a copy of every lock, as some thread of the parent held it, and of every connection, which the
parent goes on using.  Three rules, kept by the hooks of ``os.fork``:

- Before the fork, each *guarded* object comes to rest: a thread that is inside of it leaves it first.  SQLite
  keeps locks of whole files in the memory of the process; a copy of one that is held never opens again.
- In the child, guarded objects are *given up*: neither used nor closed, which would touch the parent's files.
- In the child, each object that *renews* itself starts anew, with locks and connections of its own.

Programs that fork without Python's knowledge (in C, without ``PyOS_AfterFork_Child``) are not covered.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Protocol
from weakref import WeakSet

from taskd.base.lifecycle import Deadline

#: A thread that stays inside for longer than this is not waited for: the fork comes first.
_PATIENCE_S = 5.0


class Renewed(Protocol):
    """Something with locks or connections of its own."""

    def renew(self) -> None:
        """Start anew in a forked child, touching nothing of what was; the only thread is here.

        The same as at the end of a constructor, so that one method says what a fresh object is.
        """


class Guarded(Protocol):
    """Something that a fork must not split."""

    def rest(self, timeout_s: float) -> bool:
        """Keep every other thread out, once it has left; return whether that was possible in time."""

    def go_on(self) -> None:
        """Let the others in again."""

    def give_up(self) -> None:
        """In a forked child: neither use nor close what belongs to the parent."""


class Section:
    """A ``with`` block that a fork must not split, such as an import; for one thread at a time.

    The same thread may enter again.  Inside of one may be what is guarded, and not the other way round.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        with _admission:
            _sections.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *raised: object) -> None:
        self._lock.release()

    def rest(self, timeout_s: float) -> bool:
        """Keep every other thread out, once it has left; return whether that was possible in time."""
        return self._lock.acquire(timeout=timeout_s)

    def go_on(self) -> None:
        """Let the others in again."""
        self._lock.release()

    def give_up(self) -> None:
        """Take a lock of its own in a forked child."""
        self._lock = threading.RLock()


_sections: WeakSet[Section] = WeakSet()
_guarded: WeakSet[Guarded] = WeakSet()
_renewed: WeakSet[Renewed] = WeakSet()
#: One fork at a time; beside it what is at rest for its sake.
_forking = threading.Lock()
#: Held to add to what is guarded, and by a fork from its last look at that on: nothing new begins meanwhile.
_admission = threading.RLock()
_at_rest: list[Guarded] = []


def guard(thing: Guarded) -> None:
    """Bring it to rest before every fork, and give it up in the child, as long as it exists.

    Blocks while another thread forks.  Call it before anything of the thing begins that no fork may split.
    """
    with _admission:
        _guarded.add(thing)


def renew(thing: Renewed) -> None:
    """Renew it now, and in every forked child as long as it exists.  For constructors."""
    thing.renew()
    _renewed.add(thing)


def _before() -> None:
    _forking.acquire()
    deadline = Deadline.after(_PATIENCE_S)
    asked: set[Guarded] = set()
    while True:
        _admission.acquire()
        # An object that a thread enters first comes to rest first: else the two would wait for one another.
        things: list[Guarded] = [thing for thing in (*_sections, *_guarded) if thing not in asked]
        if not things:
            return
        # An object that the fork waits for may add another, for which the fork waits in its turn.
        _admission.release()
        asked.update(things)
        _at_rest.extend(thing for thing in things if thing.rest(deadline.remaining_s()))


def _in_parent() -> None:
    _admission.release()
    while _at_rest:
        _at_rest.pop().go_on()
    _forking.release()


def _in_child() -> None:
    global _forking, _admission  # noqa: PLW0603 - locks that other threads of the parent may wait for
    _forking = threading.Lock()
    _admission = threading.RLock()
    _at_rest.clear()
    for thing in [*_sections, *_guarded]:  # first: whoever renews itself drops what it had
        thing.give_up()
    _guarded.clear()
    for renewed in list(_renewed):
        renewed.renew()


# After logging has registered its own, which run later then: whoever is waited for may have to log.
assert logging
os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
