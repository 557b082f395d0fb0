"""The tasks."""

from __future__ import annotations

import os
import signal
import time

from celery import shared_task
from django.db import connection, transaction
from django.db.models import F

from books.models import Book


@shared_task  # type: ignore[untyped-decorator]
def count(title: str) -> int:
    """Count a book once more; return how often that was done."""
    Book.objects.filter(title=title).update(counted=F("counted") + 1)
    return int(Book.objects.get(title=title).counted)


@shared_task  # type: ignore[untyped-decorator]
def add(title: str, fails: bool = False) -> None:
    """Add a book and have it counted when it is there: not before, and never if the book does not stay."""
    with transaction.atomic():
        Book.objects.create(title=title)
        count.delay_on_commit(title)
        if fails:
            raise ValueError(f"{title} does not stay")


@shared_task  # type: ignore[untyped-decorator]
def about_connection(seconds: float = 0.0) -> tuple[int, int]:
    """Return this process, and the process of the database that serves it for some seconds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), pg_sleep(%s)", [seconds])
        return os.getpid(), int(cursor.fetchone()[0])


@shared_task  # type: ignore[untyped-decorator]
def fail(reason: str) -> None:
    """Fail."""
    raise LookupError(reason)


@shared_task  # type: ignore[untyped-decorator]
def die() -> None:
    """End this process as the kernel would."""
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(time_limit=1)  # type: ignore[untyped-decorator]
def overrun() -> None:
    """Last longer than it may."""
    time.sleep(600)
