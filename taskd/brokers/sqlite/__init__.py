"""The embedded broker: one SQLite file that many processes of one machine share.

May import: rank 0, ``storage``, ``brokers``; only ``transport.py`` and its ``channel.py`` import
kombu, and nothing else here imports these.  Start reading at ``schema.py`` (the tables and the life
of a row in them), then ``intake.py`` and ``publisher.py``.
"""
