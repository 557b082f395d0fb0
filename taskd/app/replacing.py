"""A task that puts another, or a whole canvas, in its own place: ``self.replace``.

The last task of the new ones gets the id, the place in its group and chord, and what was linked to the old;
so whoever waits for the id gets the new result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from taskd.app.callbacks import begun_by, messages_without_outcome
from taskd.app.request import Request
from taskd.app.settings import TaskSettings
from taskd.brokers.intake import Outgoing
from taskd.protocol.chord import Begun, placed
from taskd.protocol.signature import read_signatures
from taskd.protocol.steps import Plain, handed, listed, members, options_of, upgraded

#: Makes one result of those of a group: Celery's own task, which every worker has.
_ACCUMULATE: Plain = {"task": "celery.accumulate", "args": [], "kwargs": {"index": 0}, "options": {}}


def replacement(
    signature: Mapping[str, object], request: Request, settings_of: Callable[[str], TaskSettings]
) -> tuple[Sequence[Outgoing], Sequence[Begun]]:
    """Return the messages that take the place of a running task, and the chords that they begin.

    Raises: ``ProtocolError`` for what is no signature, or stands for no task, and as ``messages_of``.
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
    singles = read_signatures([whole], f'what replaces task "{request.task}"')
    sent = messages_without_outcome(singles, request.message, settings_of, queue=request.payload.queue)
    return sent, begun_by(singles)


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
