"""The settings of the project; its servers are those of the test."""

from __future__ import annotations

import os

SECRET_KEY = "not secret"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django_celery_results",
    "books",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": "taskd",
        "HOST": "127.0.0.1",
        "PORT": os.environ["SHELF_DATABASE_PORT"],
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
    }
}
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CELERY_BROKER_URL = os.environ["SHELF_BROKER"]
CELERY_RESULT_BACKEND = "django-db"
CELERY_TASK_TRACK_STARTED = True
CELERY_TASK_ACKS_LATE = True
