"""The words that every room uses: clock, deadlines, loop, log, errors, ids, backoff.

Knows nothing of tasks, brokers or programs.

May import: nothing of taskd.
"""
