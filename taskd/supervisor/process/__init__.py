"""One process of a program, from its fork to its end.

``spawn`` forks and ``becoming`` turns the child into the program.  ``streams`` are its standard streams,
``status_pipe`` reads what it says, ``reaper`` waits for its end, ``belonging`` finds its orphans, ``legacy``
keeps what it leaves to its successor.  Start reading at ``spawn.py``.
"""
