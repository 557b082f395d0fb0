"""What a task author imports: ``from taskd import App``.

May import: ranks 0 to 2.  Importing a module with ``app = App()`` reads no file and opens nothing;
the first send does.  Start reading at ``app.py``; ``send.py`` builds the message, ``task.py`` is what
the decorator makes, ``control_flow.py`` has what a task may raise.
"""
