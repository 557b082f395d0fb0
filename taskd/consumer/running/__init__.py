"""The tasks that the pool holds: their outcomes, their losses, the end of the worker.

Start reading at ``outcomes.py``.
"""
