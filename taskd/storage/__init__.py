"""Storage: the only importers of ``sqlite3`` and ``redis``, a floor each.

May import: rank 0.  Knows files, servers and connections, neither messages nor results.
Start reading at ``sqlite/database.py`` or ``redis/link.py``.
"""
