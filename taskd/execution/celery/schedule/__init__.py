"""The periodic entries of a Celery app: those of its code, of django_celery_beat and of RedBeat."""
