"""What taskd asks of this machine and of its own process: prctl, priority, memory, title, limits.

May import: nothing of taskd.
"""
