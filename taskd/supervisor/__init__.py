"""The supervisor: starts the programs of a configuration, keeps them running, and ends last.

May import: rank 0, ``config``, ``protocol``.  Never a broker, user code, gevent, asyncio or a second
thread: it forks, and it must be the last process to fail.

Pure deciders, which take the time as an argument and touch nothing: ``machine`` (states and what
follows from events), ``restart`` (when a program may start again), ``stopping`` (how long each step of
a stop lasts), ``roster`` (which programs a configuration wants), ``waiting`` (who waits for whom),
``ending`` (when the daemon may end).  The thin shell around them: ``program`` (one supervised program),
``fleet`` (all of them), ``signals``, ``systemd``, and ``supervisor``, the reconcile loop.

Rooms: ``process`` (one process, from its fork to the record of its death), ``output`` (what programs
write), ``reload`` (generations of the configuration, and rolling from one to the next), ``scaling``
(processes that follow the load), ``control`` (the socket of taskctl).

Start reading at ``machine.py``, then ``supervisor.py``.
"""
