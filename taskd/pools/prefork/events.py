"""The crew's messages to the pool about its children."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from taskd.pools.base import Job, Outcome
from taskd.pools.prefork.handle import Child


@dataclass(frozen=True, slots=True)
class CrewEvents:
    """Called in the loop's thread."""

    #: A child can take jobs.
    on_child: Callable[[Child], None]
    #: No more children can be had for now, so that those which there are must do.
    on_short: Callable[[], None]
    #: The heir of this child is ready, or lost.
    on_heir: Callable[[Child], None]
    #: Outcomes, and jobs that came back unbegun.
    on_reports: Callable[[Child, Sequence[Outcome], Sequence[Job]], None]
    #: A child is dead; how it died stands in ``exited`` if that is known.  ``close`` follows.
    on_gone: Callable[[Child], None]
    on_hello: Callable[[bytes], None]
    on_failed: Callable[[str, str], None]
