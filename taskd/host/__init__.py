"""Questions to this machine and to the own process: prctl, priority, memory, title, limits.

May import: nothing of taskd.
"""
