"""Results on Redis, in the keys, records and channels of Celery's Redis backend.

``celery-task-meta-ID`` holds the record and is the name of the channel on which it is published.  So Celery's
clients read what our workers write, and ours what a Celery worker wrote.  Redis itself drops what expires.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence, Set

import msgspec

from taskd.base import clock, forks
from taskd.base.errors import ProtocolError, StorageError
from taskd.base.lifecycle import Deadline
from taskd.base.wakeup import Readable
from taskd.config.stores import RedisConfig, Stores
from taskd.protocol.results import FINAL_STATES, decode_record
from taskd.results.base import Post, StoredResult
from taskd.results.collecting import SourceCollector
from taskd.results.redis_listeners import Listeners
from taskd.storage.redis.address import address_of
from taskd.storage.redis.line import Argument
from taskd.storage.redis.link import RedisLink, Script, ScriptCall
from taskd.storage.redis.subscription import Subscription

_KEY = "celery-task-meta-"
#: Records in one script, so that none holds the server for long.
_AT_ONCE = 500
#: A subscription to more channels than this is closed instead of leaving them.
_MOST_LEFT = 500
#: How often a waiter looks by itself: a message on a channel is lost when nobody hears it.
_LOOK_S = 1.0

_STORE = Script(
    """
-- KEYS: one for each record.  ARGV: for each, 1 if it is a success, milliseconds to live or 0, the record.
-- A stored success stays, as in Celery.  The status stands first in what workers write; within a task's own
-- values it means nothing, so that only a decoder can tell where it does not stand first.
local function succeeded(text)
  if not text or not string.find(text, '"status"%s*:%s*"SUCCESS"') then return false end
  if string.find(text, '^%s*{%s*"status"%s*:%s*"SUCCESS"') then return true end
  if string.find(text, '^%s*{%s*"status"%s*:') then return false end
  local read, record = pcall(cjson.decode, text)
  return read and type(record) == 'table' and record.status == 'SUCCESS'
end
for at, key in ipairs(KEYS) do
  local success, life, record = ARGV[at * 3 - 2], tonumber(ARGV[at * 3 - 1]), ARGV[at * 3]
  if success == '1' or not succeeded(redis.call('GET', key)) then
    if life > 0 then redis.call('SET', key, record, 'PX', life) else redis.call('SET', key, record) end
    redis.call('PUBLISH', key, record)
  end
end
return 1
"""
)


class _Record(msgspec.Struct):
    status: str = ""


_decoder = msgspec.json.Decoder(_Record)


class RedisResults:
    """``ResultStore`` over one connection for all, and one for each wait at a time; a fork opens its own."""

    def __init__(self, url: str, config: RedisConfig) -> None:
        """Raises: ``StorageError`` for a URL that names no server; nothing is connected yet."""
        self._address = address_of(url, timeout_s=config.timeout, master=config.master)
        self._prefix = config.key_prefix
        self._closed = False
        forks.renew(self)

    def renew(self) -> None:
        """Start with a lock and connections of its own."""
        self._lock = threading.Lock()
        self._link = RedisLink(self._address)
        self._listeners = Listeners(self._address)

    def _lock_here(self) -> threading.Lock:
        if self._closed:
            raise StorageError("this result store is closed")
        return self._lock

    def _key(self, task_id: str) -> str:
        return f"{self._prefix}{_KEY}{task_id}"

    def reply_to(self) -> str:
        """Return no queue: records are kept here."""
        return ""

    def store(self, results: Sequence[StoredResult]) -> None:
        """Write all records in one trip, and tell those who wait for them."""
        if not results:
            return
        batches = [results[first : first + _AT_ONCE] for first in range(0, len(results), _AT_ONCE)]
        calls = [self._writing(batch) for batch in batches]
        with self._lock_here():
            self._link.pipeline([_STORE.call(call.keys, call.arguments) for call in calls], (_STORE,))

    def writing(self, results: Sequence[StoredResult]) -> ScriptCall | None:
        """Return the script that writes these records; None when it would hold the server for long."""
        return self._writing(results) if len(results) <= _AT_ONCE else None

    def _writing(self, results: Sequence[StoredResult]) -> ScriptCall:
        now = clock.now()
        arguments: list[Argument] = []
        for result in results:
            life_s = None if result.expires_at is None else max(0.001, result.expires_at - now)
            life_ms = 0 if life_s is None else int(life_s * 1000)
            arguments += (int(result.state == "SUCCESS"), life_ms, result.record)
        return ScriptCall(_STORE, [result.key or self._key(result.task_id) for result in results], arguments)

    def get(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return the records that exist, by task id."""
        if not task_ids:
            return {}
        with self._lock_here():
            replies = self._link.call("MGET", *map(self._key, task_ids))
        found = zip(task_ids, replies, strict=True)
        return {task_id: record for task_id, record in found if record is not None}

    def _final(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        return {task_id: record for task_id, record in self.get(task_ids).items() if _is_final(record)}

    def wait(self, task_ids: Sequence[str], deadline: Deadline) -> Mapping[str, bytes]:
        """Block until at least one of the tasks is in a final state; return all final ones."""
        final = self._final(task_ids)
        if final or not task_ids or deadline.passed:
            return final
        with self._listeners.hearing([self._key(task_id) for task_id in task_ids]) as listening:
            readable = Readable(listening.fileno())
            while not (final := self._final(task_ids)) and not deadline.passed:
                readable.within(min(deadline.remaining_s(), _LOOK_S))
                listening.receive()
        return final

    def collect(self, task_ids: Collection[str]) -> SourceCollector:
        """Return what finds the final records of many tasks as they arrive."""
        self._lock_here()
        return SourceCollector(_Published(self._final, self._listeners, f"{self._prefix}{_KEY}"), task_ids)

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete records; unknown ids are not an error."""
        if task_ids:
            with self._lock_here():
                self._link.call("DEL", *map(self._key, task_ids))

    def expire(self, now: float) -> int:
        """Do nothing: Redis drops records by itself."""
        return 0

    def close(self) -> None:
        """Release the connection.  May be called twice."""
        self._closed = True
        self._listeners.close()
        with self._lock:
            self._link.close()


class _Published:
    """``Source`` of the records that are published on the channels of their tasks."""

    def __init__(
        self, final: Callable[[Sequence[str]], Mapping[str, bytes]], listeners: Listeners, prefix: str
    ) -> None:
        self._final = final
        self._listeners = listeners
        self._prefix = prefix
        self._skip = len(prefix.encode())
        self._listening: Subscription | None = None
        self._heard: set[str] = set()

    def ask(self, task_ids: Sequence[str], deadline: Deadline) -> Mapping[str, bytes]:
        """Listen to the channels of these first, and then ask: what is stored in between is not missed."""
        new = [f"{self._prefix}{task_id}" for task_id in task_ids if task_id not in self._heard]
        if self._listening is None:
            self._listening = self._listeners.take(new)
        elif new:
            self._listening.join(new)
        self._heard.update(task_ids)
        return self._final(task_ids)

    def arrived(self, pending: Set[str], deadline: Deadline) -> Mapping[str, bytes]:
        """Return the final records that were published since; the message of each is the record itself."""
        found = {}
        for channel, record in self._subscription().receive():
            task_id = channel[self._skip :].decode()
            if task_id in pending and _is_final(record):
                found[task_id] = record
        return found

    def fileno(self) -> int:
        """Return the descriptor of the subscription."""
        return self._subscription().fileno()

    def _subscription(self) -> Subscription:
        assert self._listening is not None, "ask comes first"
        return self._listening

    def close(self) -> None:
        """Keep the connection for the next wait, unless it hears enough channels that closing is cheaper."""
        listening = self._listening
        heard = self._heard
        self._listening = None
        self._heard = set()
        if listening is None:
            return
        if listening.lost or len(heard) > _MOST_LEFT:
            listening.close()
        else:
            self._listeners.give_back(listening, [f"{self._prefix}{task_id}" for task_id in heard])


def _is_final(record: bytes) -> bool:
    try:
        return _decoder.decode(record).status in FINAL_STATES
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass  # NaN or a lone surrogate in the result, which msgspec does not read
    try:
        return decode_record(record).is_final
    except ProtocolError:
        return False  # another program's key of this name


def open_results(url: str, stores: Stores, post: Post | None) -> RedisResults:  # noqa: ARG001
    """Return the store of a URL; nothing is connected yet."""
    return RedisResults(url, stores.redis)
