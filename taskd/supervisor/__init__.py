"""The supervisor: starts the programs of a configuration, keeps them running, and ends last.

It never opens a broker, runs user code, imports gevent or asyncio, or starts a second thread: it forks, and
it must be the last process to fail.

Floors, from the ground up: ``model`` (pure decisions), ``process`` (one process, from its fork to its end),
and ``output`` (the lines that programs write).  Then come ``programs`` (one supervised program, and all of
them).  Above them stand ``scaling`` (processes that follow the load) and ``reload`` (from one configuration
to the next), ``control`` (the socket of ``taskctl``), and ``supervisor``, the reconcile loop.

Start reading at ``model/machine.py``, then ``programs/program.py`` and ``supervisor.py``.

May import: ``base``, ``host``, ``config``, ``protocol``.
"""
