"""The exchange of a worker with others: its events, and the workers that share its broker.

``events`` is the step that tells, ``task_events`` tells the fates
of tasks; ``mingle`` asks the neighbours at the start, ``gossip`` follows them. Start reading at
``gossip.py``.
"""
