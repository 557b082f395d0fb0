"""Makes every callback of a loop raise once: found by what is registered, so that a new one is covered.

``install`` is for a process that is under test; what it has seen stands in two files, one name a line.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from taskd.base import clock, loop
from taskd.base.loop import Callback, Loop, LoopTimer, Owner

#: Timers that are due later than this come that soon until they have raised: a test has no minute to spend.
_SOON_S = 0.2


class InjectedError(Exception):
    """What nobody foresaw."""


def install(directory: Path, mode: str) -> None:
    """Have each callback raise the first time: ``before`` it does anything, or ``after`` it has done it.

    The names of those that were registered, and of those that have raised, go to files in ``directory``.
    """
    registered, raised = _Names(directory / "registered"), _Names(directory / "raised")
    attempt, call_at = Loop.attempt, Loop.call_at
    loop._REST_S = 0.05

    def faulty(self: Loop, callback: Callback, owner: Owner | None = None) -> bool:
        name = _name(callback, owner)
        if not raised.add(name):
            return attempt(self, callback, owner)

        def broken() -> None:
            if mode == "after":
                callback()
            raise InjectedError(name)

        broken.__qualname__ = name
        return attempt(self, broken, owner)

    def sooner(self: Loop, until: float, callback: Callback, owner: Owner | None = None) -> LoopTimer:
        name = _name(callback, owner)
        registered.add(name)
        if name not in raised:
            until = min(until, clock.monotonic() + _SOON_S)
        return call_at(self, until, callback, owner)

    def noting(add: Callable[[Loop, int, Callback, Owner | None], None]) -> Callable[..., None]:
        @functools.wraps(add)
        def wrapped(self: Loop, fd: int, callback: Callback, owner: Owner | None = None) -> None:
            registered.add(_name(callback, owner))
            add(self, fd, callback, owner)

        return wrapped

    Loop.attempt = faulty  # type: ignore[method-assign]
    Loop.call_at = sooner  # type: ignore[method-assign]
    Loop.add_reader = noting(Loop.add_reader)  # type: ignore[method-assign]
    Loop.add_writer = noting(Loop.add_writer)  # type: ignore[method-assign]


class _Names:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._seen

    def add(self, name: str) -> bool:
        """Note a name; return whether it is new."""
        if name in self._seen:
            return False
        self._seen.add(name)
        with self._path.open("a") as file:
            file.write(f"{name}\n")
        return True


def _name(callback: Callback, owner: Owner | None) -> str:
    """One name for each place in the code and each kind of owner."""
    kind = owner.name.split()[0] if owner else "-"
    return f"{kind}:{loop.name_of(callback)}"
