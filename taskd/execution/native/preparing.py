"""Makes an App ready to run: the tasks that every app has are added."""

from __future__ import annotations

from taskd.app.app import App
from taskd.app.celery_tasks import add_celery_tasks
from taskd.app.chunk_task import add_chunk_task


def prepare(app: App) -> App:
    """Add the tasks to an app, and return it."""
    add_chunk_task(app)
    add_celery_tasks(app)
    return app
