"""The version of taskd, in the one place from which packaging and ``--version`` read it."""

__version__ = "0.1.0"
