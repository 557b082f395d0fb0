"""Events, Mingle and Gossip: the steps by which workers of a cluster know one another.

They stand here because the inner blueprint has them in this order, and they take no part on the
embedded broker: it serves one host, whose supervisor sees its workers through the status descriptor,
and remote control reaches all of them.  What Mingle is for, learning what is revoked, ``statedb`` does
there without asking: all workers share its file, which also knows it when no neighbour is up.
"""

from __future__ import annotations

from taskd.blueprint import Step
from taskd.consumer.tasks import Connection


class Events(Step[None]):
    """Sends worker and task events for monitors."""

    name = "Events"
    requires = (Connection,)

    def included(self) -> bool:
        """Never, on the embedded broker: there is no monitor of other hosts to tell."""
        return False


class Mingle(Step[None]):
    """Asks the neighbours of other hosts for revoked ids at start."""

    name = "Mingle"
    requires = (Events,)

    def included(self) -> bool:
        """Never, on the embedded broker: no neighbours on other hosts."""
        return False


class Gossip(Step[None]):
    """Listens to the neighbours' events."""

    name = "Gossip"
    requires = (Mingle,)

    def included(self) -> bool:
        """Never, on the embedded broker: no neighbours on other hosts."""
        return False
