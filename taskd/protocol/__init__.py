"""Wire formats: pure functions between values and bytes, no I/O.

``message.py`` is Celery's task protocol 2, ``results.py`` its result records, ``pidbox.py`` its remote
control and ``commands.py`` the table of commands, ``events.py`` its events, ``lamport.py`` the clock in both.
``delivery.py`` is the message that the rooms pass on; ``execution.py`` and ``status.py`` are our own formats
between a worker and its pool, and between a program and its supervisor.

May import: ``base``.
"""
