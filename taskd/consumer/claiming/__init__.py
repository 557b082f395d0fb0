"""From messages of the broker to jobs of the pool: claim a batch, decide about each message, submit.

Start reading at ``intaking.py``.  ``strategy``, ``prefetch``, ``rate_limits`` and ``suspects`` decide and
touch nothing.
"""
