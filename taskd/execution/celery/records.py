"""Have the worker write the last record of a task, where the app's Redis is also the worker's.

A record that a child writes costs it two trips to the server.  One that is handed up travels with the
settlement of the message, many at once.  Everything else of the backend stays: Celery encodes the record,
names its key, and says how long it lives.

The child writes three kinds as before, for somebody may look before the worker has written them:

- records of chords' parts: the chord's body may run at once;
- records of failures with errbacks, and of tasks with handlers of their own, which may tell others to look;
- large records, which would only wait in the worker.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import msgspec
from celery import states
from celery.app.task import Task

from taskd.base.urls import same_login, same_server
from taskd.protocol.execution import End, RecordPlace, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

#: A larger record would only wait in the worker.
MOST_BYTES = 32 * 1024
_FINAL = frozenset({states.SUCCESS, states.FAILURE})
_HANDLERS = ("on_success", "on_failure", "after_return")


class _Kept:
    """The task that runs in this thread, and its last record once it has one."""

    __slots__ = (
        *("again", "args", "is_first", "key", "kwargs", "life_s", "may_wait", "record", "state", "task_id"),
    )

    def __init__(self, task_id: str, key: bytes, *, again: bool) -> None:
        self.task_id = task_id
        self.key = key
        #: The message has been handed out before: another run may have stored a success.
        self.again = again
        #: While the backend stores: the record may wait for the worker; no success can be there before it.
        self.may_wait = False
        self.is_first = False
        self.state = ""
        self.record: bytes | None = None
        self.life_s = 0.0
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}


class _Now(threading.local):
    kept: _Kept | None = None
    #: The backend that was looked at last, and whether its records can be handed up.
    backend: Any = None
    fits: bool = False


class HandedRecords:
    """The records of one app's tasks, in one process.  Safe in any thread.

    ``results``: the address of the worker's store.
    """

    def __init__(self, results: str) -> None:
        self._results = results
        self._now = _Now()
        self._told: dict[str, bool] = {}

    def begin(self, task: Any, task_id: str, *, again: bool) -> None:
        """Keep the last record of a task that is about to run here, if it can be handed up."""
        now = self._now
        now.kept = None
        try:
            backend = task.backend
        except Exception:  # noqa: BLE001 - the task hears of it if it needs one
            return
        if now.backend is not backend:
            now.fits = self.fits(backend)
            now.backend = backend
        if now.fits and not self._tells_others(task):
            now.kept = _Kept(task_id, backend.get_key_for_task(task_id), again=again)

    def end(self, reply: Reply) -> Reply:
        """Return the reply of the run with the record that was kept."""
        now = self._now
        kept = now.kept
        if kept is None:
            return reply
        now.kept = None
        if kept.record is None or reply.end is End.UNSTORED:
            return reply
        place = RecordPlace(kept.key.decode(), kept.life_s)
        return msgspec.structs.replace(reply, state=kept.state, record=kept.record, place=place)

    def _tells_others(self, task: Any) -> bool:
        """Return whether functions of the task run after its record is written, who may send others to it."""
        told = self._told.get(task.name)
        if told is None:
            cls = type(task)
            told = any(getattr(cls, name, None) is not getattr(Task, name) for name in _HANDLERS)
            self._told[task.name] = told
        return told

    def fits(self, backend: Any) -> bool:
        """Return whether the worker reaches what the backend writes to; then let it hand records up."""
        url = getattr(backend, "url", None)
        module = sys.modules.get("celery.backends.redis")
        # Not a class of its own, such as that of Sentinel, or of the app.
        if module is None or type(backend) is not module.RedisBackend or not url:
            return False
        if not (same_server(self._results, url) and same_login(self._results, url)):
            return False
        if backend.connparams.get("credential_provider") is not None:
            return False
        if "_store_result" not in vars(backend):
            _let_hand_up(backend, self._now)
        return True


def _let_hand_up(backend: Any, now: _Now) -> None:
    """Put functions before those of one backend, which look whether a record is the task's last."""
    vars(backend).update(
        get_key_for_task=_naming(backend, now),
        _store_result=_storing(backend, now),
        get=_getting(backend, now),
        mget=_getting_many(backend, now),
        set=_setting(backend, now),
        delete=_deleting(backend, now),
    )


def _naming(backend: Any, now: _Now) -> Callable[..., Any]:
    name = backend.get_key_for_task

    def get_key_for_task(task_id: str, key: str = "") -> Any:
        kept = now.kept
        # Celery asks for it twice in each run.
        return name(task_id, key) if key or kept is None or task_id != kept.task_id else kept.key

    return get_key_for_task


def _storing(backend: Any, now: _Now) -> Callable[..., Any]:
    store = backend._store_result

    def store_result(
        task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        kept = now.kept
        if kept is None or task_id != kept.task_id:
            return store(task_id, result, state, traceback, request, **kwargs)
        if kept.record is not None:
            _write(backend, kept)
        kept.state = state
        kept.may_wait = _may_wait(state, request)
        kept.is_first = state == states.SUCCESS and not kept.again
        try:
            return store(task_id, result, state, traceback, request, **kwargs)
        finally:
            kept.may_wait = False
            kept.is_first = False

    return store_result


def _may_wait(state: str, request: Any) -> bool:
    """Return whether nobody is told of the record before the worker has written it."""
    if state not in _FINAL or getattr(request, "chord", None):
        return False
    return state == states.SUCCESS or not getattr(request, "errbacks", None)


def _write(backend: Any, kept: _Kept) -> None:
    record = kept.record
    kept.record = None
    type(backend).set(backend, kept.key, record, *kept.args, **kept.kwargs)


def _setting(backend: Any, now: _Now) -> Callable[..., Any]:
    write = backend.set

    def set_value(key: bytes, value: str | bytes, *args: Any, **kwargs: Any) -> Any:
        kept = now.kept
        if kept is None or not kept.may_wait or key != kept.key or len(value) > MOST_BYTES:
            return write(key, value, *args, **kwargs)
        kept.record = value.encode() if isinstance(value, str) else bytes(value)
        kept.args = args
        kept.kwargs = kwargs
        life_s = args[0] if args else kwargs.get("expires")
        kept.life_s = float((backend.expires if life_s is None else life_s) or 0.0)
        return None

    return set_value


def _getting(backend: Any, now: _Now) -> Callable[..., Any]:
    read = backend.get

    def get(key: bytes) -> Any:
        kept = now.kept
        if kept is None or key != kept.key:
            return read(key)
        if kept.record is not None:
            return kept.record
        # Celery asks whether a success is there already, which would stay.
        return None if kept.is_first else read(key)

    return get


def _getting_many(backend: Any, now: _Now) -> Callable[..., Any]:
    read = backend.mget

    def mget(keys: Any) -> Any:
        found = read(keys)
        kept = now.kept
        if kept is None or kept.record is None or kept.key not in keys:
            return found
        return [kept.record if key == kept.key else value for key, value in zip(keys, found, strict=True)]

    return mget


def _deleting(backend: Any, now: _Now) -> Callable[..., Any]:
    remove = backend.delete

    def delete(key: bytes) -> Any:
        kept = now.kept
        if kept is not None and key == kept.key:
            kept.record = None
        return remove(key)

    return delete
