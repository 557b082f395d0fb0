"""The facts about one worker that never change: its names, and when it began."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """One worker process."""

    #: Its name among the others.
    node_name: str
    #: The owner of its claims: the program's own name on this host, however the node is called.
    owner: str
    #: The monotonic time of its start.
    started_at: float
