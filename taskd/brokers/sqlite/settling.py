"""Carrying out settlements inside an open transaction.

Every statement names the owner beside the id: a claim that went to another generation is never
touched, whatever the caller believes.  Acks go in one statement with their ids as a JSON array
(measured: faster than executemany, and one statement in the cache instead of one per length).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from taskd.base.exhaustive import assert_never
from taskd.brokers.sqlite.letters import bury
from taskd.brokers.sqlite.posting import post
from taskd.protocol.delivery import Ack, Dead, Delay, LetterKind, Replace, Requeue, Settlement
from taskd.storage.sqlite.database import Connection

_HELD = "SELECT id FROM claimed WHERE owner=? AND id IN (SELECT value FROM json_each(?))"
_TO_READY = (
    "INSERT INTO ready(queue, rank, id, deliveries, deaths)"
    " SELECT queue, rank, id, deliveries - ?, deaths + ? FROM claimed WHERE id=? AND owner=?"
)
_TO_DELAYED = (
    "INSERT INTO delayed(queue, due_at, id, rank, deliveries, deaths)"
    " SELECT queue, ?, id, rank, deliveries - ?, deaths FROM claimed WHERE id=? AND owner=?"
)
# A run that is sent once is still on its way while its retry waits.
_FOLLOW = "UPDATE once SET message=(SELECT next - 1 FROM sequence) WHERE task_id=?"
_QUEUE_OF = "SELECT queue FROM claimed WHERE id=?"

_encode_json = msgspec.json.Encoder().encode


@dataclass(slots=True)
class SettleEffect:
    """The effect of a settlement: tags of others, queues with something new to claim, new failed letters."""

    refused: list[int] = field(default_factory=list)
    woken: set[int] = field(default_factory=set)
    failures: int = 0


def settle(connection: Connection, owner: int, outcomes: Sequence[Settlement], now: float) -> SettleEffect:
    """Carry out all outcomes of one owner."""
    settled = SettleEffect()
    acked = [outcome.tag for outcome in outcomes if type(outcome) is Ack]
    if acked:
        settled.refused += _ack(connection, owner, acked)
    if len(acked) < len(outcomes):
        for outcome in outcomes:
            if type(outcome) is not Ack and not _settle_one(connection, owner, outcome, now, settled):
                settled.refused.append(outcome.tag)
    return settled


def _ack(connection: Connection, owner: int, tags: list[int]) -> list[int]:
    """Delete messages with their claims; return the tags that were refused."""
    parameters = (owner, _encode_json(tags).decode())
    deleted = connection.execute(f"DELETE FROM message WHERE id IN ({_HELD})", parameters).rowcount  # noqa: S608
    refused: list[int] = []
    if deleted != len(tags):
        held = {row[0] for row in connection.execute(_HELD, parameters)}
        for tag in tags:
            if tag in held:
                held.discard(tag)  # a second ack of the same tag is refused
            else:
                refused.append(tag)
    connection.execute(
        "DELETE FROM claimed WHERE owner=? AND id IN (SELECT value FROM json_each(?))", parameters
    )
    return refused


def _settle_one(
    connection: Connection, owner: int, outcome: Settlement, now: float, settled: SettleEffect
) -> bool:
    """Carry out one outcome; return False when its claim is not the owner's."""
    tag = outcome.tag
    match outcome:
        case Ack():
            return not _ack(connection, owner, [tag])
        case Requeue(started=started, died=died):
            moved = connection.execute(_TO_READY, (int(not started), int(died), tag, owner)).rowcount
        case Delay(due_at=due_at, started=started):
            moved = connection.execute(_TO_DELAYED, (due_at, int(not started), tag, owner)).rowcount
        case Dead():
            moved = bury(connection, owner, outcome, now)
            settled.failures += moved if outcome.kind is LetterKind.FAILED else 0
        case Replace(message=message):
            if _ack(connection, owner, [tag]):
                return False
            settled.woken |= post(connection, (message,), now)
            connection.execute(_FOLLOW, (message.task_id,))
            return True
        case _:
            assert_never(outcome)
    if moved == 0:
        return False
    if not isinstance(outcome, Dead):
        settled.woken.add(int(connection.execute(_QUEUE_OF, (tag,)).fetchone()[0]))
    connection.execute("DELETE FROM claimed WHERE id=?", (tag,))
    return True
