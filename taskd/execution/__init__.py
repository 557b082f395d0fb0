"""The inside of a pool slot: runs one task, and turns every way it can end into a reply.

It never imports the consumer, which runs in the worker's parent.

May import: ``base``, ``host``, ``config``, ``protocol``, ``results``, ``pools``, ``program``,
``sending``, ``app``.
"""
