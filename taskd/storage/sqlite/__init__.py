"""Files of SQLite that many processes share: the only importers of ``sqlite3``.

Knows files, transactions and wake-ups, neither messages nor results.
Start reading at ``database.py`` (one open file); ``wake.py`` tells other processes of a commit.
"""
