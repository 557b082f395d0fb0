"""``taskctl beat``: periodic tasks.  ``group.py`` lists the verbs, each of which is a module."""
