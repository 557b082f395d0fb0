"""The embedded broker: one SQLite file that many processes of one machine share.

Start reading at ``schema.py`` (the tables and the life of a row in them), then ``intake.py`` and
``publisher.py``.
"""
