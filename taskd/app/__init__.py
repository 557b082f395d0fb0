"""The task author's side: ``from taskd import App``.

Importing a module with ``app = App()`` reads no file and opens nothing; the first send does.  Start reading
at ``app.py``; ``task.py`` is what the decorator makes, ``control_flow.py`` has what a task may raise.

May import: ``base``, ``config``, ``protocol``, ``results``, ``sending``.
"""
