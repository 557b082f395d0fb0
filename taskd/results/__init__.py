"""Result backends: where the outcome of a task is kept for whoever asks.

May import: rank 0, ``protocol`` and ``storage``.  Blind to brokers and pools.
Start reading at ``base.py``; ``factory.py`` opens a backend by its URL.
"""
