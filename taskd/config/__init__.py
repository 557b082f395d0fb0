"""Configuration: the schema, loading with provenance, and every problem at once.

May import: rank 0 only; the one importer of tomllib/tomli.  Start reading at ``schema.py``: each TOML
table is one frozen dataclass (``daemon``, ``stores``, ``programs``, ``schedule``), with unit, default and
one line of help beside each field (``option.py``), from which the checks, the documentation and
``taskd --check`` are made.  ``load.py`` reads a file, ``tables.py`` walks it along the schema, ``rules.py``
judges what takes more than one key.
``crontab.py`` and ``when.py`` read what says when a task is sent.
"""
