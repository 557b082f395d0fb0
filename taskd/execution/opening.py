"""From ``app`` in the file to what a pool slot runs: the one place that tells the frameworks apart."""

from __future__ import annotations

from taskd.app.app import App
from taskd.base.errors import ResolveError
from taskd.execution.finding import is_celery, load
from taskd.execution.native.native_app import NativeApp, WorkingApp
from taskd.execution.task_app import DeclaringApp, TaskApp, Workplace


def open_app(path: str, workplace: Workplace) -> TaskApp:
    """Import the user's app and make it ready to run tasks in this process, or in children of it.

    Raises: as ``finding.load``; ``StartError`` where it cannot run here.
    """
    worker = workplace.config.workers[workplace.table]
    return WorkingApp(_ours(path, load(path, workplace.table, worker.directory)), workplace)


def read_app(path: str, table: str = "", directory: str = "") -> DeclaringApp:
    """Import the user's app to learn what it declares; runs nothing of it.  Raises: as ``finding.load``."""
    found = load(path, table, directory)
    if is_celery(found):
        from taskd.execution.celery.declared import DeclaredCelery

        return DeclaredCelery(found)
    return NativeApp(_ours(path, found))


def _ours(path: str, found: object) -> App:
    if not isinstance(found, App):
        kind = f"{type(found).__module__}.{type(found).__qualname__}"
        hint = ", in a module beside Celery's app (docs/celery.md)"
        raise ResolveError(f'app "{path}" is of type {kind}; expected taskd.App{hint}')
    return found
