"""The two commands: ``taskd``, the daemon, and ``taskctl``, its tool.

May import everything.  ``taskd.py`` imports lazily, because it becomes the long-lived supervisor;
``taskctl.py`` is short-lived and may use click and rich.  The only room that prints.
"""
