"""Back to the broker and into the result store: what a worker has decided, until it is sent.

Start at ``settling.py``, the queues, and ``flush.py``, which sends them.
"""
