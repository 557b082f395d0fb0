"""For all tests: Hypothesis without deadlines and without a database."""

from __future__ import annotations

from hypothesis import settings

# A busy machine must not fail a property; pytest-timeout bounds what hangs.  No example database:
# unit tests do not touch the disk, and a failure prints how to reproduce it.
settings.register_profile("taskd", deadline=None, database=None, print_blob=True)
settings.load_profile("taskd")
