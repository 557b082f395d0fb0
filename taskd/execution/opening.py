"""From ``app`` in the file to what a pool slot runs: the one place that tells the frameworks apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

from taskd.app.app import App
from taskd.base.errors import ResolveError
from taskd.execution.finding import code_of_celery, is_celery, load
from taskd.execution.native.native_app import NativeApp, WorkingApp
from taskd.execution.task_app import DeclaringApp, TaskApp, Workplace
from taskd.protocol.delivery import Delivery
from taskd.sending.options import TaskOptions


class MessageReader(Protocol):
    """An app that reads messages and runs none."""

    @property
    def tasks(self) -> Mapping[str, TaskOptions]:
        """Its tasks by their names."""

    def unreadable(self, delivery: Delivery, compression: str | None) -> str:
        """Return why the app cannot read the arguments of a message; empty when it can."""


def open_app(path: str, workplace: Workplace) -> TaskApp:
    """Import the user's app and make it ready to run tasks in this process, or in children of it.

    Raises: as ``finding.load``; ``StartError`` where it cannot run here.
    """
    worker = workplace.config.workers[workplace.table]
    app = load(path, workplace.table, worker.directory)
    if is_celery(app):
        from taskd.execution.celery.working import WorkingCelery

        with code_of_celery(app, path):
            return WorkingCelery(app, workplace)
    return WorkingApp(cast("App", app), workplace)


def read_app(path: str, table: str = "", directory: str = "") -> DeclaringApp:
    """Import the user's app to learn what it declares; runs nothing of it.  Raises: as ``finding.load``."""
    app = load(path, table, directory)
    if is_celery(app):
        from taskd.execution.celery.schedule.declared import DeclaredCelery

        with code_of_celery(app, path):
            return DeclaredCelery(app)
    return NativeApp(cast("App", app))


def read_messages(path: str) -> MessageReader:
    """Import a Celery app to read messages with it.

    Raises: as ``finding.load``; ``ResolveError`` for an app of ours.
    """
    app = load(path)
    if not is_celery(app):
        raise ResolveError(f'app "{path}" is not a Celery app')
    from taskd.execution.celery.reading import CeleryReader

    with code_of_celery(app, path):
        return CeleryReader(app)
