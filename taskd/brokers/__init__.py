"""Brokers: where messages wait, are claimed under a lease, and are settled.

Knows neither tasks nor pools.  Start reading at ``intake.py`` (what a worker needs of a broker) and
``base.py`` (everything else); ``factory.py`` opens a broker by its URL.

May import: ``base``, ``config``, ``protocol``, ``storage``.
"""
