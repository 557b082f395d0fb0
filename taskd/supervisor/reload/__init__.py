"""From what runs to what the file says: generations of the configuration, and the way from one to
the next.

May import what ``supervisor`` may. Pure: ``plan`` (what a reload does to each program) and
``rolling`` (the next step of a group). ``generation`` is one checked configuration, ``group`` the
programs of one table with their ``member`` states, ``reload`` reads, checks and aims. Start
reading at ``plan.py``.
"""
