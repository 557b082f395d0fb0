"""Publishing to the embedded broker, with group commit between threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from taskd.base import forks
from taskd.base.errors import StorageError
from taskd.brokers.sqlite.posting import post
from taskd.brokers.sqlite.store import BrokerFile
from taskd.protocol.delivery import Outgoing

# A wait is this long only when the thread that was to commit next has died of an interrupt.
_NUDGE_LOST_S = 0.05


class _Call:
    """One ``publish`` that waits for its transaction; its thread sleeps at the gate meanwhile."""

    __slots__ = ("done", "error", "gate", "messages")

    def __init__(self, messages: Sequence[Outgoing]) -> None:
        self.messages = messages
        self.done = False
        self.error: BaseException | None = None
        self.gate = threading.Lock()
        self.gate.acquire()

    def open_gate(self) -> None:
        """Wake the thread, or keep it from falling asleep."""
        try:
            self.gate.release()
        except RuntimeError:
            pass  # it is open already

    def finish(self, error: BaseException | None) -> None:
        """Tell the thread how it ended."""
        self.error = error
        self.done = True
        self.open_gate()


class SqlitePublisher:
    """``Publisher`` over one file.

    Threads that publish at the same time share one transaction: whoever gets the lock commits for
    all that came during the transaction before.  A forked child opens the file anew.
    """

    def __init__(self, open_store: Callable[[], BrokerFile]) -> None:
        self._open_store = open_store
        self.closed = False
        forks.renew(self)

    def renew(self) -> None:
        """Start with a lock and a file of its own, and without the calls of other threads."""
        self._lock = threading.Lock()
        self._waiting: deque[_Call] = deque()
        self._store: BrokerFile | None = None

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Write all messages in one transaction, all or none."""
        if not messages:
            return
        call = _Call(messages)
        self._waiting.append(call)
        while not call.done:
            if not self._lock.acquire(blocking=False):
                call.gate.acquire(timeout=_NUDGE_LOST_S)
                continue
            try:
                if not call.done:
                    self._commit_waiting()
            finally:
                self._lock.release()
                self._nudge()
        if call.error is not None:
            raise call.error

    def _nudge(self) -> None:
        """Let the first that came during the transaction commit the next one."""
        try:
            self._waiting[0].open_gate()
        except IndexError:
            pass

    def _commit_waiting(self) -> None:
        calls = []
        while self._waiting:
            calls.append(self._waiting.popleft())
        try:
            self._commit(calls)
        except BaseException:
            # This thread is interrupted; the next one commits for the rest.
            self._waiting.extend(call for call in calls if not call.done)
            raise

    def _commit(self, calls: list[_Call]) -> None:
        try:
            self._write(calls)
        except StorageError as error:
            _finish(calls, error)  # the file is at fault: the same for all
        except Exception as error:  # noqa: BLE001 - raised again by the call that it belongs to
            if len(calls) == 1:
                _finish(calls, error)
            else:
                for call in calls:  # one of them is at fault: the others must not suffer
                    self._commit([call])
        else:
            _finish(calls, None)

    def _write(self, calls: list[_Call]) -> None:
        if self.closed:
            raise StorageError("this publisher is closed; ask the broker for a new one")
        if self._store is not None and not self._store.database.is_in_place():
            self._store.close()
            self._store = None  # somebody replaced the file: the message belongs into the new one
        if self._store is None:
            self._store = self._open_store()
        store = self._store
        now = store.timing.now()
        woken: set[int] = set()
        with store.database.write() as connection:
            for call in calls:
                woken |= post(connection, call.messages, now)
        store.wake(woken)

    def close(self) -> None:
        """Release the file.  May be called twice."""
        self.closed = True
        if self._store is not None:
            with self._lock:
                self._store.close()
                self._store = None


def _finish(calls: list[_Call], error: BaseException | None) -> None:
    for call in calls:
        call.finish(error)
