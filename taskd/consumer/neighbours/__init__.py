"""What a worker tells and hears of others: its events, and the workers that share its broker.

``events`` is the step that tells, ``task_events`` what becomes
of tasks; ``mingle`` asks the neighbours at the start, ``gossip`` follows them. Start reading at
``gossip.py``.
"""
