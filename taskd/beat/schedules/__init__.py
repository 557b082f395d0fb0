"""When a periodic task fires.  Everything here is pure: the time comes in as an argument.

A schedule answers one question, ``next_after(at)``, from the time alone and without a memory of the
last run, so that a restart moves no occurrence and all beats agree.  Start reading at ``schedule.py`` (the
question), then ``crontab.py`` and ``zones.py`` (the rules at DST changes), ``interval.py``, ``once.py``,
``solar.py``.  ``limits.py`` puts start, end and jitter around any of them, and ``build.py`` makes one from a
table of the configuration.  ``words.py`` and ``rehearsal.py`` tell people what a schedule does.
"""
