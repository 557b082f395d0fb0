"""Beat: the process that sends the periodic tasks, each occurrence once.

It never imports ``app`` or kombu, which would cost more than the whole process.  Start reading at
``schedules/`` (when), then ``catch_up.py`` and ``overlap.py`` (the rules), ``book.py`` (what a beat has in
mind), and ``firing.py`` (the step from due to decided).  ``keeper.py`` with ``stores/`` holds what is
remembered and the lease, ``app_source.py`` what apps declare, ``sources.py`` entries exchanged while it runs.
``service.py`` is the process.

May import: ``base``, ``host``, ``config``, ``protocol``, ``storage``, ``brokers``, ``program``, ``sending``.
"""
