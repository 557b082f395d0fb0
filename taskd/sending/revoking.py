"""Revoking from code: keep it for the workers that start later, and tell those that are up."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from taskd.protocol import pidbox
from taskd.protocol.delivery import Outgoing
from taskd.revocations.known import By
from taskd.revocations.store import state_of
from taskd.sending.connections import Connections

#: Ids in one message to the workers.
_AT_ONCE = 1000


def revoke(connections: Connections, task_ids: Iterable[str], *, terminate: bool, signal: str | None) -> bool:
    """Revoke tasks; return whether workers that start later know it, too.  Raises: as ``App.revoke``."""
    ids = list(dict.fromkeys(task_ids))
    if not ids:
        return True
    config = connections.config
    # First, so that a worker that starts in between has either read it or is told.
    state = state_of(config.broker, config.stores)
    if state is not None:
        with closing(state):
            state.add(By.ID, ids)
    how: dict[str, object] = {"terminate": terminate}
    if signal is not None:
        how["signal"] = signal
    connections.publisher().publish(
        [_request(ids[at : at + _AT_ONCE], how) for at in range(0, len(ids), _AT_ONCE)]
    )
    return state is not None


def _request(task_ids: list[str], how: dict[str, object]) -> Outgoing:
    headers, body = pidbox.encode_request("revoke", {"task_id": task_ids, **how}, clock=0)
    return Outgoing(exchange=pidbox.EXCHANGE, routing_key="", headers=headers, body=body)
