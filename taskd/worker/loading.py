"""The user's app: import it, and say what the worker's parent must know of its tasks."""

from __future__ import annotations

from taskd.app.app import App
from taskd.app.mapping import add_chunk_task
from taskd.errors import ResolveError
from taskd.protocol.execution import TaskOptions
from taskd.resolve import resolve


def task_table(app: App) -> list[TaskOptions]:
    """Return what the parent must know of each task."""
    return [
        TaskOptions(
            name=settings.name,
            acks=settings.acks,
            ignore_result=settings.ignore_result,
            soft_time_limit=settings.soft_time_limit,
            time_limit=settings.time_limit,
            rate_limit=settings.rate_limit,
            queue=settings.queue,
            send_events=settings.send_events,
        )
        for settings in (task.settings for task in app.tasks.values())
    ]


def load_app(path: str) -> App:
    """Import the user's code and return the App at ``package.module:attribute``.

    Raises: ``ResolveError`` when there is no such object or it is no App; whatever the user's module
    raises when imported.
    """
    found = resolve(path)
    if not isinstance(found, App):
        kind = f"{type(found).__module__}.{type(found).__qualname__}"
        # Whoever comes from Celery names the app that is there.
        hint = ", in a module beside Celery's app (docs/celery.md)" if kind.startswith("celery.") else ""
        raise ResolveError(f'app "{path}" is of type {kind}; expected taskd.App{hint}')
    add_chunk_task(found)
    return found
