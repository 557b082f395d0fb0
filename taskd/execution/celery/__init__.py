"""Apps of Celery: the objects of the installed Celery run their tasks, and say what they declare."""
