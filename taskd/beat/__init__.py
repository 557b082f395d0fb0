"""Beat: the process that sends the periodic tasks of ``[beat.schedule.*]``.

May import: ranks 0 to 3; in fact it needs only ``config``, ``protocol`` and ``brokers``, and it must not
import ``app`` or kombu, which would cost more than the whole process.  Start reading at ``schedules.py``
(when), then ``agenda.py`` (what is due, and the rule for missed runs), then ``service.py`` (the process).
"""
