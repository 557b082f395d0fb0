"""Storage: the only importers of ``sqlite3`` and ``redis``, a floor each.

Knows files, servers and connections, neither messages nor results.  Start reading at ``sqlite/database.py``
or ``redis/link.py``.

May import: ``base``.
"""
