"""Rehearse a Celery app's runs in the template, by Celery's own tracer (``taskd.execution.rehearsal``).

Nothing outside of the process hears of it: no receiver of a signal, no result store, no log, no task or
function of the app.  Where any of them could, because the app or an integration has put something in the
place of what a run calls, nothing is rehearsed.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

from celery import signals
from celery.app import backends, trace
from celery.app import task as tasks
from celery.app.task import Task
from celery.backends.base import DisabledBackend
from celery.loaders.base import BaseLoader
from celery.utils.threads import LocalStack
from kombu.serialization import prepare_accept_content

from taskd.execution import rehearsal
from taskd.execution.celery.records import HandedRecords
from taskd.execution.celery.running import CeleryExecutor
from taskd.protocol.execution import End, decode_reply

_JSON = "application/json"
#: Functions of a task that a run may call.
_CALLED = ("__call__", "before_start", "on_success", "after_return")
_SIGNALS = (signals.task_prerun, signals.task_postrun, signals.task_success, signals.task_failure)

_logger = logging.getLogger(__name__)


def rehearse(app: Any, node_name: str, records: HandedRecords) -> bool:
    """Run a task that does nothing some times; return whether that was possible."""
    try:
        stores = [DisabledBackend(app), *_handing(app, records)]
        if not (_is_plain(app) and _reads_json(app)):
            return False
        with _unheard():
            return all(_runs(app, node_name, records, store) for store in stores)
    except Exception:  # each child meets it again at its first task, which tells
        _logger.debug("the rehearsal failed", exc_info=True)
        return False


def _handing(app: Any, records: HandedRecords) -> list[Any]:
    """Return the app's backend if it hands its records up, and so makes no connection.

    It stays for the children, as Celery's own worker makes it before it forks.
    """
    kind, _ = backends.by_url(app.backend_cls or app.conf.result_backend, app.loader)
    redis = sys.modules.get("celery.backends.redis")
    if redis is None or kind is not redis.RedisBackend or app.conf.result_serializer != "json":
        return []
    backend = app.backend
    return [backend] if records.fits(backend) else []


def _is_plain(app: Any) -> bool:
    """Return whether a run calls nothing but Celery's own functions."""
    loader = type(app.loader)
    return (
        _is_of(trace, trace.build_tracer)
        and all(_is_of(tasks, getattr(Task, name)) for name in _CALLED)
        and loader.on_task_init is BaseLoader.on_task_init
        and loader.on_process_cleanup is BaseLoader.on_process_cleanup
        and not app.conf.worker_deduplicate_successful_tasks  # asks the app's backend
    )


def _is_of(module: ModuleType, function: Any) -> bool:
    """Return whether a function stands in a module as it is; integrations put others in their place."""
    return type(function) is FunctionType and function.__code__.co_filename == module.__file__


def _reads_json(app: Any) -> bool:
    return _JSON in prepare_accept_content(app.conf.accept_content)


@contextmanager
def _unheard() -> Iterator[None]:
    """Keep what runs meanwhile from receivers and from the log."""
    logger = trace.logger
    was_disabled = logger.disabled
    receivers = [signal.receivers for signal in _SIGNALS]
    try:
        logger.disabled = True
        for signal in _SIGNALS:
            signal.receivers = []
        yield
    finally:
        logger.disabled = was_disabled
        for signal, heard in zip(_SIGNALS, receivers, strict=True):
            signal.receivers = heard


def _runs(app: Any, node_name: str, records: HandedRecords, store: Any) -> bool:
    task = _task_of(app)
    task.backend = store
    task.ignore_result = isinstance(store, DisabledBackend)
    task.__trace__ = trace.build_tracer(task.name, task, app.loader, node_name, app=app)
    stand_in = SimpleNamespace(tasks={task.name: task}, conf=app.conf)
    run = CeleryExecutor(stand_in, node_name, {}, None, records)
    message = rehearsal.assignment()
    return all(decode_reply(run(message)).end is End.SUCCEEDED for _ in range(rehearsal.TIMES))


def _task_of(app: Any) -> Any:
    """Return a task that the app does not know, without the app's annotations."""

    class Rehearsal(Task):  # type: ignore[misc]
        name = rehearsal.NAME
        track_started = False
        request_stack = LocalStack()
        __bound__ = True
        run = staticmethod(rehearsal.nothing)

    Rehearsal.bind(app)
    return Rehearsal()
