"""The supervisor: starts the programs of a configuration, keeps them running, and ends last.

May import: rank 0, ``config``, ``protocol``.  Never a broker, user code, gevent, asyncio or a second
thread: it forks, and it must be the last process to fail.

Pure deciders, which take the time as an argument and touch nothing: ``machine`` (states and what
follows from events), ``restart`` (when a program may start again), ``stopping`` (how long each step of
a stop lasts), ``roster`` (which programs a configuration wants), ``plan`` (what a reload does to each
program), ``rolling`` (the next step of a group towards what is wanted), ``waiting`` (who waits for whom),
``ending`` (when the daemon may end).  The thin shell around them:
``program`` (one supervised process), ``status_pipe``, ``spawn`` and ``becoming`` (what a child does before
exec), ``reaper`` and ``belonging`` (whose orphan is whose), ``hooks``, ``generation`` (one checked
configuration and the making of programs from it), ``group`` (the programs of one table), ``fleet`` (all
groups), ``output`` (what programs write), ``hang`` and ``spiral`` (silence, and when killing stops),
``certificate`` and ``deaths`` (how processes ended), ``reload``, ``control`` (the socket
of taskctl; ``control_client`` is its other end, ``methods`` what it answers), ``systemd``, and
``supervisor``, the reconcile loop.

Start reading at ``machine.py``, then ``supervisor.py``.
"""
