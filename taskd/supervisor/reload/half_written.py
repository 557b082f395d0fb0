"""Whether a file is being written at this moment: half of a configuration may look like a whole one.

The kernel knows: it grants no read lease on a file that somebody has open for writing (fcntl(2),
"Leases").  It asks that the file is ours or that we are root, and a local file system; where it does
not answer, nobody is taken to write.
"""

from __future__ import annotations

import fcntl
import os
import signal


def is_being_written(path: str) -> bool:
    """Return whether some process has the file open for writing.  Never blocks, never raises."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False  # its reader will say why
    try:
        # Should a writer come in this very moment: the default signal, SIGIO, would end the process.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False
