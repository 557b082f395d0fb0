"""The worker's end of remote control: each command of Celery's ``inspect`` and ``control``, and
those of the app.

``control`` is the step that answers, ``table`` binds the names
of ``taskd.protocol.commands`` to the modules beside it. Start reading at ``table.py``.
"""
