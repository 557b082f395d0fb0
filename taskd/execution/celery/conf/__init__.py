"""The settings of a Celery app: what becomes of each under taskd, and what cannot work."""
