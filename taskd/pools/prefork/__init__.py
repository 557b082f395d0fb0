"""Prefork: jobs run in child processes, forked by a single-threaded template.

    worker (pool.py, crew.py, handle.py)
      |  launcher.py: control socket, forks asked for and exits reported
      +-- template (template.py): user's code, no connection, one thread
      |     +-- child (child.py): runs jobs
      +-------- data socket of each child, and one shared memory slot (slot.py)

Start reading at ``pool.py``, then ``slot.py``: what the
pool knows about a child that was killed stands there.  ``recycling.py`` replaces children that have
run, grown or lived enough.
"""
