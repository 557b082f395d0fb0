"""A task that puts another, or a whole canvas, in its own place: ``self.replace``; or beside it in a chord.

The last task of the new ones gets the id, the place in its group and chord, and the links of the old.  So a
client that waits for the id gets the new result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import cast

from taskd.protocol.chord import Begun, added, placed
from taskd.protocol.delivery import Outgoing
from taskd.protocol.steps import Plain, handed, listed, members, options_of, upgraded
from taskd.results.factory import chords
from taskd.sending.callbacks import begun_by, messages_without_outcome
from taskd.sending.connections import Connections
from taskd.sending.options import TaskSettings
from taskd.sending.request import Request
from taskd.sending.send import publish
from taskd.sending.signature import read_signatures

#: Makes one result of those of a group: Celery's own task, which every worker has.
_ACCUMULATE: Plain = {"task": "celery.accumulate", "args": [], "kwargs": {"index": 0}, "options": {}}


def replacement(
    signature: Mapping[str, object], request: Request, settings_of: Callable[[str], TaskSettings]
) -> tuple[Sequence[Outgoing], Sequence[Begun]]:
    """Return the messages that take the place of a running task, and the chords that they begin.

    Raises: ``ProtocolError`` when it is not a signature or stands for no task, and as ``messages_of``.
    """
    steps = _steps(signature)
    if steps:
        steps[-1] = placed(
            cast("Mapping[str, object]", steps[-1]),
            request.id,
            request.embed.get("chord"),
            request.group,
            request.group_index,
        )
    embed = request.embed
    linked = {"link": listed(embed.get("callbacks")), "link_error": listed(embed.get("errbacks"))}
    whole = {
        "task": "celery.chain",
        "args": [],
        "kwargs": {"tasks": steps},
        "options": {**linked, "chain": listed(embed.get("chain"))},
        "subtask_type": "chain",
    }
    singles = read_signatures([whole], f'the replacement of task "{request.task}"')
    sent = messages_without_outcome(singles, request.message, settings_of, queue=request.delivery.queue)
    return sent, begun_by(singles)


def add_part(connections: Connections, signature: Mapping[str, object], request: Request) -> None:
    """Send one more part of the chord of a running task.  Raises: as ``BoundTask.add_to_chord``."""
    body = request.embed.get("chord")
    group = request.group
    if not (isinstance(body, Mapping) and body and group):
        raise ValueError(f'task "{request.task}" with id {request.id or "none"} is not a part of a chord')
    part, count = added(signature, body, group)
    singles = read_signatures([part], "the addition to a chord")
    messages = messages_without_outcome(singles, request.message, TaskSettings, queue=request.delivery.queue)
    config = connections.config
    store = chords(config.results, config.stores, config.result_expires)
    if store is not None:  # or this task, a part of a chord, would not run
        with closing(store):
            # First, so that the chord does not end without it.
            store.add(group, count)
            for begun in begun_by(singles):
                store.begin(begun)
    publish(connections, messages)


def _steps(signature: Mapping[str, object]) -> list[object]:
    """Return the steps of what is given, the last of which has one result."""
    if signature.get("subtask_type") == "chain":
        steps = handed(upgraded(members(signature)), options_of(signature))
    else:
        steps = upgraded([signature])
    last = steps[-1] if steps else None
    if isinstance(last, Mapping) and last.get("subtask_type") == "group":
        return upgraded([*steps, _ACCUMULATE])
    return steps
