"""``taskctl import``: write a taskd.toml for what another program ran until now.

Start reading at ``command.py``.  ``shadowing.py`` watches live queues and has each message judged.
"""
