"""Brokers: where messages wait, are claimed under a lease, and are settled.

Knows neither tasks nor pools.  Start reading at ``base.py`` (the seam) and ``desk.py`` (what an
operator needs of a broker); ``factory.py`` opens a broker by its URL.

May import: ``base``, ``config``, ``protocol``, ``storage``.
"""
