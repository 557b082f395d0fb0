"""A broker in the memory of one process, for users' tests: the same seam, the same promises.

``memory://`` and ``memory://name`` are shared by everything in
the process that connects to the same URL, so an ``App`` and a worker thread see one another.
Nothing survives the process.  Start reading at ``hub.py``.
"""
