"""From ``app`` in the file to what a pool slot runs: the one place that tells the frameworks apart."""

from __future__ import annotations

from typing import cast

from taskd.app.app import App
from taskd.execution.finding import code_of_celery, is_celery, load
from taskd.execution.native.native_app import NativeApp, WorkingApp
from taskd.execution.task_app import DeclaringApp, TaskApp, Workplace


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
