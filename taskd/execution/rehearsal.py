"""The task of taskd's own that a template runs before it forks: what children share must not change in them.

The first runs of a process write to thousands of pages of memory: Python specialises code that it runs, and
keeps what it has looked up.  A page that a child writes to becomes the child's own, some 4 MB in each, and
stays in the template as well.  After some runs in the template the children find these pages as they need
them.
"""

from __future__ import annotations

from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import Assignment, encode
from taskd.protocol.message import OutgoingHeaders, encode_body, encode_headers

NAME = "taskd.rehearsal"
#: Python 3.11 specialises a function at its eighth call.
TIMES = 10


def nothing() -> None:
    """Do nothing: the task that is rehearsed."""


def assignment() -> bytes:
    """Return a message to run it, as the worker's parent hands one to a child."""
    headers = OutgoingHeaders(
        task=NAME, id=NAME, root_id=NAME, argsrepr="()", kwargsrepr="{}", origin=NAME, ignore_result=False
    )
    return encode(Assignment(Delivery(0, NAME, NAME, encode_headers(headers), encode_body((), {}))))
