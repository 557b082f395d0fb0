"""Result stores: where the outcome of a task is kept for everybody who asks.

Blind to brokers and pools.  Start reading at ``base.py``; ``factory.py`` opens a store by its URL.

May import: ``base``, ``config``, ``protocol``, ``storage``.
"""
