"""Redis as a broker: kombu's own lists and envelope, and leases of our own around them.

A message waits where a Celery worker would look for it, so both can serve one queue.  ``keys`` names every
key, ``scripts`` holds the Lua that moves messages between them, ``envelope`` reads and writes kombu's JSON.
Start reading at ``intake.py``.
"""
