"""A small event loop: readable and writable descriptors, timers, calls from other threads, signals.

One instance drives the supervisor, one each worker's consumer, one each prefork template.  It
never sleeps without a computed deadline, and when nothing is due it sleeps for ever.

Why not asyncio: importing it costs 50 ms and 6 MB in each of these processes, and none of them
awaits anything.  Why not kombu's Hub: it polls at least every ten seconds and is bound to kombu's
transports; a kombu connection with a descriptor joins this loop through ``add_reader``.

Each callback has an *owner*: the thing that it concerns, such as a program, a client, or a message.  An
exception that nobody foresaw costs the owner and never the loop.  See ``Loop.attempt``.
"""

from __future__ import annotations

import functools
import heapq
import logging
import selectors
import signal
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count

from taskd.base import clock, program_signals
from taskd.base.safe_text import one_line
from taskd.base.wakeup import Wakeup

_log = logging.getLogger(__name__)

Callback = Callable[[], None]

SignalHandler = Callable[[int, object], None]

# A descriptor whose callback failed is left alone for this long: it would fail without a pause otherwise.
_REST_S = 1.0


def _nothing(number: int) -> None:
    """There is nothing to be done at once."""


def _no_handler(number: int, frame: object) -> None:
    """No signal is watched."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The thing that callbacks concern, and what it pays for one that raises what nobody foresaw.

    ``name`` stands in the log, such as ``program mail-1``.  ``fail`` gets the error in one line, in the
    loop's thread: it ends or parks the thing, and arms again what the callback would have armed.

    ``again``: a timer or a call that has failed is made once more after a rest, as descriptors are called
    again.  For things that go on, whose callbacks look at what is to be done.
    """

    name: str
    fail: Callable[[str], None]
    again: bool = False


def _handle_by(number: signal.Signals, handler: SignalHandler) -> None:
    signal.signal(number, handler)
    signal.siginterrupt(number, False)


class LoopTimer:
    """A call that is due at a monotonic time; ``cancel`` may be called at any time."""

    __slots__ = ("callback", "every_s", "owner", "until")

    def __init__(
        self, until: float, callback: Callback, owner: Owner | None = None, every_s: float = 0.0
    ) -> None:
        self.until = until
        self.callback: Callback | None = callback
        self.owner = owner
        #: How long after a call the next one is due; 0 for a timer of one call.
        self.every_s = every_s

    def cancel(self) -> None:
        """Never call the callback any more.  A second call does nothing."""
        self.callback = None


class Loop:
    """Calls back when descriptors are ready and when timers are due; all in one thread.

    Callbacks must not block.  One that raises costs its owner, which is named where it is registered.
    Without an owner there, that of the loop pays; without one here either, the exception leaves ``run_once``.
    """

    def __init__(self, owner: Owner | None = None, passing: tuple[type[Exception], ...] = ()) -> None:
        """``passing``: errors that are foreseen; they leave ``run_once`` whoever the owner is."""
        self._passing = passing
        self._owner = owner
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, LoopTimer]] = []
        self._order = count()
        self._soon: deque[tuple[Callback, Owner | None]] = deque()
        self._wakeup = Wakeup()
        self._readers: dict[int, tuple[Callback, Owner | None]] = {}
        self._writers: dict[int, tuple[Callback, Owner | None]] = {}
        self._watched: set[int] = set()
        self._resting: dict[int, LoopTimer] = {}
        self._signal_sockets: tuple[socket.socket, socket.socket] | None = None
        self._former_wakeup_fd = -1
        self._signal_numbers: set[signal.Signals] = set()
        self._signal_handler: SignalHandler = _no_handler
        self._deliver_signal: Callable[[int], None] = _nothing
        #: Signals whose handler was called and whose callback was not yet.
        self._undelivered: set[int] = set()
        self._selector.register(self._wakeup.fileno(), selectors.EVENT_READ, None)

    # -- descriptors -----------------------------------------------------------------------

    def add_reader(self, fd: int, callback: Callback, owner: Owner | None = None) -> None:
        """Call ``callback`` on each turn in which ``fd`` is readable; replaces a former one."""
        self._readers[fd] = (callback, owner)
        self._watch(fd)

    def remove_reader(self, fd: int) -> None:
        """Stop watching ``fd`` for reading; call it before the descriptor is closed."""
        if self._readers.pop(fd, None) is not None:
            self._watch(fd)

    def add_writer(self, fd: int, callback: Callback, owner: Owner | None = None) -> None:
        """Call ``callback`` on each turn in which ``fd`` is writable; replaces a former one."""
        self._writers[fd] = (callback, owner)
        self._watch(fd)

    def remove_writer(self, fd: int) -> None:
        """Stop watching ``fd`` for writing."""
        if self._writers.pop(fd, None) is not None:
            self._watch(fd)

    def _watch(self, fd: int) -> None:
        events = (selectors.EVENT_READ if fd in self._readers else 0) | (
            selectors.EVENT_WRITE if fd in self._writers else 0
        )
        if not events and (timer := self._resting.pop(fd, None)) is not None:
            timer.cancel()  # the number may mean another descriptor soon
        if fd in self._resting:
            events = 0
        if not events:
            if fd in self._watched:
                self._watched.remove(fd)
                self._selector.unregister(fd)
        elif fd in self._watched:
            self._selector.modify(fd, events, fd)
        else:
            self._selector.register(fd, events, fd)
            self._watched.add(fd)

    def _let_rest(self, fd: int) -> None:
        """Do not watch a descriptor for a while, if it is registered still."""
        if fd in self._readers or fd in self._writers:
            owner = Owner(f"descriptor {fd}", lambda _why: self._watch_again(fd))
            self._resting[fd] = self.call_later(_REST_S, lambda: self._watch_again(fd), owner)
            self._watch(fd)

    def _watch_again(self, fd: int) -> None:
        if self._resting.pop(fd, None) is not None:
            self._watch(fd)

    # -- time ------------------------------------------------------------------------------

    def call_at(self, until: float, callback: Callback, owner: Owner | None = None) -> LoopTimer:
        """Call ``callback`` once at the monotonic time ``until``, or soon after."""
        timer = LoopTimer(until, callback, owner)
        heapq.heappush(self._timers, (until, next(self._order), timer))
        return timer

    def call_later(self, delay_s: float, callback: Callback, owner: Owner | None = None) -> LoopTimer:
        """Call ``callback`` once, ``delay_s`` seconds from now."""
        return self.call_at(clock.monotonic() + delay_s, callback, owner)

    def every(self, interval_s: float, callback: Callback, owner: Owner | None = None) -> LoopTimer:
        """Call ``callback`` each ``interval_s`` seconds until it is cancelled, also after one that failed."""
        timer = LoopTimer(clock.monotonic() + interval_s, callback, owner, interval_s)
        heapq.heappush(self._timers, (timer.until, next(self._order), timer))
        return timer

    def call_soon(self, callback: Callback, owner: Owner | None = None) -> None:
        """Call ``callback`` in the next turn.  For the loop's own thread."""
        self._soon.append((callback, owner))

    def call_from_thread(self, callback: Callback, owner: Owner | None = None) -> None:
        """Call ``callback`` in the loop's thread.  From any thread; not from a signal handler."""
        self._soon.append((callback, owner))  # deque.append is atomic
        self._wakeup.set()

    # -- signals ---------------------------------------------------------------------------

    def watch_signals(
        self,
        numbers: set[signal.Signals],
        callback: Callable[[int], None],
        at_once: Callable[[int], None] = _nothing,
        *,
        owner: Callable[[int], Owner] | None = None,
    ) -> None:
        """Call ``callback(number)`` in the loop, not in a handler, for each signal that arrives.

        ``at_once`` is called in the handler: it may store a mark and nothing else, for it interrupts
        anything.  It comes also while code that the loop has called keeps it from turning.

        Bursts of one signal may be seen once (signals coalesce): treat a call as a hint.  Signals that were
        held back since the start of the process come now.  For the main thread only.  See
        signal.set_wakeup_fd.

        ``owner`` answers with what pays for a callback that fails for a signal; the others still come.
        """
        here, there = socket.socketpair()
        here.setblocking(False)
        there.setblocking(False)
        self._signal_sockets = (here, there)
        self._former_wakeup_fd = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)

        def handle(number: int, _frame: object) -> None:
            # The C handler has written the number to the wake-up descriptor already.
            self._undelivered.add(number)
            at_once(number)

        def deliver_one(number: int) -> None:
            self._undelivered.discard(number)
            self._call_once(functools.partial(callback, number), owner(number) if owner else None)

        def deliver() -> None:
            try:
                received = here.recv(4096)
            except BlockingIOError:
                return
            for number in received:
                deliver_one(number)

        for number in numbers:
            _handle_by(number, handle)
        self._signal_handler = handle
        self._signal_numbers = numbers
        self._deliver_signal = deliver_one
        self.add_reader(here.fileno(), deliver)
        program_signals.let_in(numbers)

    def take_signals_back(self) -> None:
        """Watch the signals again if code that has run in this process took them over, and say so.

        Such code may have set handlers, a mask, or the wake-up descriptor.  For the main thread; cheap.
        """
        if self._signal_sockets is None:
            return
        wakeup_fd = self._signal_sockets[1].fileno()
        lost = {each for each in self._signal_numbers if signal.getsignal(each) is not self._signal_handler}
        lost |= self._signal_numbers & signal.pthread_sigmask(signal.SIG_BLOCK, ())
        is_ours = signal.set_wakeup_fd(wakeup_fd, warn_on_full_buffer=False) == wakeup_fd
        if is_ours and not lost:
            return
        for each in lost:
            _handle_by(each, self._signal_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signal_numbers)
        if not is_ours:  # signals that came meanwhile went to the descriptor of somebody else
            for number in self._undelivered.copy():
                self.call_soon(functools.partial(self._deliver_signal, number))
        names = ", ".join(sorted(each.name for each in lost)) or "the wake-up descriptor of all signals"
        _log.warning("task code has taken over %s, which ends this process in order; it is taken back", names)

    # -- running ---------------------------------------------------------------------------

    def run_once(self, max_wait_s: float | None = None) -> None:
        """Wait until something is ready or due, at most ``max_wait_s``, and call it back."""
        for key, events in self._selector.select(self._wait_s(max_wait_s)):
            fd = key.data
            if fd is None:
                self._wakeup.clear()
                continue
            # Looked up now, not before: an earlier callback of this turn may have removed it.
            if events & selectors.EVENT_READ:
                self._call(fd, self._readers.get(fd))
            if events & selectors.EVENT_WRITE:
                self._call(fd, self._writers.get(fd))
        if self._timers:
            self._run_due(clock.monotonic())
        for _ in range(len(self._soon)):
            self._call_once(*self._soon.popleft())

    def _call(self, fd: int, registered: tuple[Callback, Owner | None] | None) -> None:
        if registered is not None and not self.attempt(*registered):
            self._let_rest(fd)

    def attempt(self, callback: Callback, owner: Owner | None = None) -> bool:
        """Call ``callback`` now; return False when it raised, which costs its owner.

        Everything that the loop calls goes through here.  Code that carries out several things in one turn
        calls it for each: one that fails then costs neither the others nor the rest of the turn.
        Raises: the exception of ``callback``, when there is no owner, nor one of the loop.
        """
        payer = owner or self._owner
        if payer is None:
            callback()
            return True
        try:
            callback()
        except self._passing:
            raise
        except Exception as error:  # noqa: BLE001 - the barrier of the loop
            _log.exception("unforeseen error in %s, which costs %s", name_of(callback), payer.name)
            try:
                payer.fail(
                    f"internal error in {name_of(callback)}: {one_line(f'{type(error).__name__}: {error}')}"
                )
            except Exception:  # noqa: BLE001 - the loop goes on, whatever the thing is now
                _log.exception("%s could not be ended after that", payer.name)
            return False
        return True

    def _call_once(self, callback: Callback, owner: Owner | None) -> None:
        payer = owner or self._owner
        if not self.attempt(callback, owner) and payer is not None and payer.again:
            self.call_later(_REST_S, callback, replace(payer, again=False))

    def _wait_s(self, max_wait_s: float | None) -> float | None:
        if self._soon:
            return 0.0
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return max_wait_s
        due_s = max(0.0, self._timers[0][0] - clock.monotonic())
        return due_s if max_wait_s is None else min(due_s, max_wait_s)

    def _run_due(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            callback = timer.callback
            if callback is None:
                continue
            if timer.every_s:
                # Before the call: so the next one comes whatever becomes of this one, and it may cancel.
                timer.until = now + timer.every_s
                heapq.heappush(self._timers, (timer.until, next(self._order), timer))
                self.attempt(callback, timer.owner)
            else:
                timer.callback = None
                self._call_once(callback, timer.owner)

    def close(self) -> None:
        """Release the loop's own descriptors and give back the signal wake-up descriptor."""
        if self._signal_sockets is not None:
            signal.set_wakeup_fd(self._former_wakeup_fd)
            for end in self._signal_sockets:
                end.close()
            self._signal_sockets = None
        self._selector.close()
        self._wakeup.close()


def name_of(callback: Callable[..., object]) -> str:
    """Return the qualified name of a callback, for the log: of a partial, that of what it calls."""
    while isinstance(callback, functools.partial):
        callback = callback.func
    return getattr(callback, "__qualname__", None) or type(callback).__qualname__
