"""The Celery app of the project."""

from __future__ import annotations

import os

from celery import Celery, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")

app = Celery("proj")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def report_failures(**_facts: object) -> None:
    """Start what the operators of the project watch it with."""
    from proj import watching

    watching.start()
