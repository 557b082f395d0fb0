"""Pools: run a callable over bytes in processes, threads, or in place.

A pool knows jobs, outcomes and a target callable; it never hears of tasks, brokers or results.  Start reading
at ``base.py``.

May import: ``base``, ``host``.
"""
