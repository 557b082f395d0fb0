"""The rows of ``taskctl status``, as the daemon writes them to its socket, and as taskctl reads them.

Every key is part of the control protocol: a later version adds keys and renames none.  A key that an older
daemon does not send has a default.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from taskd.protocol.status import Figures, Trouble

#: Before the reason of a program that is not ready, and has said for what it waits.
WAITS = "waiting: "


class ProgramRow(Figures, frozen=True, kw_only=True):
    """One program: how it stands, and the figures of its last heartbeat; see docs/process-states.md."""

    name: str
    kind: str
    state: str
    wanted: bool
    #: Not wanted because the load does not need it, not because somebody stopped it.
    spare: bool = False
    reason: str = ""
    #: Since when, by the wall clock, and for how long, which no jump of that one changes.
    since: float = 0.0
    for_s: float | None = None
    pid: int | None = None
    restarts: int = 0
    detail: str = ""
    #: It hangs and is not killed any more.
    alarm: str = ""
    #: By its last heartbeat, the worst first.
    troubles: Sequence[Trouble] = ()
    revision: int = msgspec.field(name="generation", default=0)


class GroupRow(msgspec.Struct, frozen=True):
    """How far the programs of one table are on the way to what is wanted."""

    settled: bool
    trouble: str = ""
