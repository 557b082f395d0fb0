"""A Django project that runs its tasks with Celery, laid out as Celery's documentation says."""

from proj.celery import app as celery_app

__all__ = ("celery_app",)
