"""For all tests: Hypothesis without deadlines and without a database, and a SIGINT that is heard."""

from __future__ import annotations

import signal

from hypothesis import settings

# A busy machine must not fail a property; pytest-timeout bounds what hangs.  No example database:
# unit tests do not touch the disk, and a failure prints how to reproduce it.
settings.register_profile("taskd", deadline=None, database=None, print_blob=True)
settings.load_profile("taskd")

# A shell starts its background with SIGINT ignored, and each program of a test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
