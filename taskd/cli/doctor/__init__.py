"""``taskctl doctor``: is this machine fit for taskd?

``machine`` and ``unit`` gather facts and judge nothing; ``checks`` and ``unit_checks`` judge facts and
touch nothing.
"""
