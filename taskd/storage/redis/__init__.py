"""Connections to Redis, for the broker and the results: the only importers of ``redis``.

``address`` reads a URL and knows where the server is (Sentinel too).  ``link`` is one connection that sends
commands and scripts (``line`` the bytes below it), ``subscription`` one that only listens.  Start reading at
``link.py``.
"""
