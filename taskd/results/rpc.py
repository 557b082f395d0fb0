"""Results as messages to whoever sent the task, as Celery's rpc backend has it.

A worker publishes each record to the queue that the task's message names (``reply_to``).  A client makes
such a queue, one for each process, before it sends its first task, and keeps in memory what it has received.
So only the process that sent a task can ask for its result.  A message that names no queue gets no answer.

How a record travels is not known here: ``Post`` is given by those who know brokers.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence, Set
from typing import NamedTuple

import msgspec

from taskd.base import clock, forks, ids
from taskd.base.errors import ProtocolError, StorageError
from taskd.base.lifecycle import Deadline
from taskd.base.wakeup import Readable
from taskd.config.stores import Stores
from taskd.protocol.results import FINAL_STATES, TaskState, decode_record
from taskd.results.base import Box, Post, StoredResult
from taskd.results.collecting import PlainCollector

#: Final records that were asked for and are kept for whoever asks again.
_MOST_ASKED = 1000
#: How often a waiter looks by itself.
_LOOK_S = 1.0


class _Head(msgspec.Struct):
    task_id: str
    status: str


_decoder = msgspec.json.Decoder(_Head)


class _Arrival(NamedTuple):
    record: bytes
    state: str
    #: When it was received, wall clock.
    at: float


class RpcResults:
    """``ResultStore`` of ``rpc://``.  A forked child has a queue of its own, and asks for its own tasks."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._closed = False
        forks.renew(self)

    def renew(self) -> None:
        """Start with a lock, a queue and a connection of its own."""
        self._changed = threading.Condition()
        self._queue = ids.new_task_id()
        self._box: Box | None = None
        #: A thread reads the box without the lock; the others wait for what it finds.
        self._reading = False
        #: Records that have arrived, in that order, with their times.
        self._arrived: dict[str, _Arrival] = {}
        #: Final records that somebody has asked for, the last one last.
        self._asked: dict[str, _Arrival] = {}

    def _lock_here(self) -> threading.Condition:
        if self._closed:
            raise StorageError("this result store is closed")
        return self._changed

    def reply_to(self) -> str:
        """Return the queue of this process, which exists from now on."""
        with self._lock_here():
            self._opened()
        return self._queue

    def _opened(self) -> Box:
        if self._box is None:
            self._box = self._post.box(self._queue)
        return self._box

    def store(self, results: Sequence[StoredResult]) -> None:
        """Send the records of tasks whose senders named a queue."""
        answered = [result for result in results if result.reply_to]
        if answered:
            self._post.send(answered)

    def get(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return the records that have arrived, by task id."""
        with self._lock_here():
            if task_ids and not self._reading:
                self._read(0.0)
            return self._found(task_ids, final=False)

    def wait(self, task_ids: Collection[str], deadline: Deadline) -> Mapping[str, bytes]:
        """Block until at least one of the tasks is in a final state; return all final ones."""
        with self._lock_here():
            while True:
                found = self._found(task_ids, final=True)
                if found or not task_ids:
                    return found
                patience_s = min(deadline.remaining_s(), _LOOK_S)
                if self._reading:
                    self._changed.wait(patience_s)
                else:
                    self._read(patience_s)
                if deadline.passed:  # with what has arrived until then
                    return self._found(task_ids, final=True)

    def _read(self, patience_s: float) -> None:
        """Take what arrives within that time; the lock is free meanwhile."""
        box = self._opened()
        records: Sequence[bytes] = ()
        lost = False
        self._reading = True
        self._changed.release()
        try:
            records = _receive(box, patience_s)
        except StorageError:
            lost = True
        finally:
            self._changed.acquire()
            self._reading = False
            self._changed.notify_all()
        if lost:
            # Idle connections are cut by servers and by what stands between; the queue has kept everything.
            box.close()
            self._box = None
            self._opened()
        self._take(records)

    def _take(self, records: Sequence[bytes]) -> None:
        now = clock.now()
        for record in records:
            head = _head_of(record)
            if head is None:
                continue  # nothing that a worker sends
            former = self._arrived.get(head.task_id) or self._asked.get(head.task_id)
            if former is not None and former.state == TaskState.SUCCESS and head.status != TaskState.SUCCESS:
                continue
            shelf = self._asked if head.task_id in self._asked else self._arrived
            shelf[head.task_id] = _Arrival(record, head.status, now)
        self._expire(now)

    def _found(self, task_ids: Collection[str], *, final: bool) -> Mapping[str, bytes]:
        found = {}
        if isinstance(task_ids, Set) and len(task_ids) > len(self._arrived) + len(self._asked):
            task_ids = [each for shelf in (self._arrived, self._asked) for each in shelf if each in task_ids]
        for task_id in task_ids:
            arrival = self._arrived.get(task_id) or self._asked.get(task_id)
            if arrival is None:
                continue
            is_final = arrival.state in FINAL_STATES
            if is_final and task_id in self._arrived:
                self._asked[task_id] = self._arrived.pop(task_id)
            if is_final or not final:
                found[task_id] = arrival.record
        while len(self._asked) > _MOST_ASKED:
            del self._asked[next(iter(self._asked))]
        return found

    def collect(self, task_ids: Collection[str]) -> PlainCollector:
        """Return what finds the final records of many tasks as they arrive."""
        return PlainCollector(self.wait, task_ids)

    def forget(self, task_ids: Sequence[str]) -> None:
        """Drop records that have arrived; unknown ids are not an error."""
        with self._lock_here():
            for task_id in task_ids:
                self._arrived.pop(task_id, None)
                self._asked.pop(task_id, None)

    def expire(self, now: float) -> int:
        """Drop records that nobody has asked for in their time; return how many."""
        with self._lock_here():
            return self._expire(now)

    def _expire(self, now: float) -> int:
        count = 0
        while self._post.expires_s and self._arrived:
            oldest = next(iter(self._arrived))
            if self._arrived[oldest].at + self._post.expires_s > now:
                break
            del self._arrived[oldest]
            count += 1
        return count

    def close(self) -> None:
        """Release the connections.  May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._post.close()
        with self._changed:
            if self._box is not None and not self._reading:
                self._box.close()


def _head_of(record: bytes) -> _Head | None:
    try:
        return _decoder.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass  # NaN or a lone surrogate in the result, which msgspec does not read
    try:
        whole = decode_record(record)
    except ProtocolError:
        return None
    return _Head(whole.task_id, whole.status)


def _receive(box: Box, patience_s: float) -> Sequence[bytes]:
    records = box.receive()
    if records or patience_s <= 0:
        return records
    Readable(box.fileno()).within(patience_s)
    return box.receive()


def open_results(url: str, stores: Stores, post: Post | None) -> RpcResults:  # noqa: ARG001
    """Return the store over the broker's post.  Raises: ``StorageError`` for a broker without."""
    if post is None:
        raise StorageError(
            'results = "rpc://" travel over RabbitMQ to whoever sent the task; expected a broker amqp://, '
            "or a store of results: redis:// or sqlite://"
        )
    return RpcResults(post)
