"""The configuration: its schema, loading with provenance, every problem at once.

Start reading at ``schema.py``.  Each TOML table is one frozen dataclass (``daemon``, ``stores``,
``programs``, ``schedule``), with unit, default and one line of help beside each field (``option.py``).  The
checks, the documentation and ``taskd --check`` are made from these.  ``load.py``, the one importer of
tomllib, reads a file, ``tables.py`` walks it along the schema, ``rules.py`` judges what takes more than one
key.  ``kinds.py`` has the records of brokers, stores and pools, ``built_in.py`` those of taskd;
``choosing.py`` finds one.  ``crontab.py`` and ``when.py`` read the times at which a task is sent.

May import: ``base``.
"""
