"""One supervised program over all its processes, its group, and the fleet of all groups.

``program`` carries out what ``model.machine`` decides.  ``starting`` makes its processes, ``life`` has what
is known of one, ``patience`` its one timer, ``hang`` and ``spiral`` deal with silence.  ``dying`` says how it
ended, ``hooks`` runs the operator's commands.  ``group`` has the programs of one table of the file, ``fleet``
all of them.  Start reading at ``program.py``.
"""
