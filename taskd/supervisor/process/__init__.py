"""One process of a program, from its fork to the record of its death.

May import what ``supervisor`` may. ``spawn`` forks and ``becoming`` turns the child into the
program; ``status_pipe`` and ``life`` hold what it says, ``patience`` its one timer; ``hang`` and
``spiral`` deal with silence, ``reaper`` and ``belonging`` with its end and its orphans;
``certificate`` and ``deaths`` record it. ``hooks`` runs the operator's commands. Start reading at
``life.py``.
"""
