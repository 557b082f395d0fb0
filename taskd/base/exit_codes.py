"""Exit statuses of every taskd program, after sysexits(3) where it has a word for the case.

systemd and scripts act on them: the unit does not restart a daemon that exits with ``CONFIG``.
"""

from __future__ import annotations

import signal

OK = 0
FAILURE = 1
#: Wrong words on the command line.
USAGE = 64
#: A service is not there: the daemon is down, no worker answered.
UNAVAILABLE = 69
#: A file could not be created or written; a second daemon on the same control socket.
CANTCREAT = 73
#: A temporary failure: a time limit passed, try again.
TEMPFAIL = 75
#: The user's code did not import.
APP_BROKEN = 77
#: The configuration is wrong; starting again will not help.
CONFIG = 78


def describe_signal(number: int) -> str:
    """Return a signal's number and name, as in ``signal 9 (SIGKILL)``."""
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
