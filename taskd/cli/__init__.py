"""The two commands: ``taskd``, the daemon, and ``taskctl``, its tool.

The only room that prints.  ``taskd.py`` imports lazily, because it becomes the long-lived supervisor;
``taskctl.py`` is short-lived and may use click and rich.

May import: ``base``, ``host``, ``config``, ``protocol``, ``storage``, ``brokers``, ``results``,
``revocations``, ``pools``, ``supervisor``, ``program``, ``sending``, ``events``, ``control``, ``app``,
``beat``.
"""
