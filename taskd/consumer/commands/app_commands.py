"""Remote-control commands of the app: run on a slot of the pool, answered when they have ended.

The loop must never run the user's code, and with prefork it could not: it has not imported it.  So a command
is a job like a task, without a message: nothing is stored or settled, its outcome is the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count

import msgspec

from taskd.base import ids
from taskd.base.errors import PoolError, SerializationError
from taskd.consumer.context import Context, Shutdown
from taskd.consumer.neighbours.task_events import exception_of
from taskd.control.node import Command, Later
from taskd.pools.base import Done, Job, Outcome
from taskd.protocol.commands import CommandKind, task_of
from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import End, decode_reply, encode_work
from taskd.protocol.message import OutgoingHeaders, encode_body, encode_headers
from taskd.sending.options import TaskOptions

logger = logging.getLogger(__name__)

#: Tags of these jobs begin here; tags of tasks count from 1.
_FIRST_TAG = 2**52

Reply = Callable[[object], None]


class AllCommands(Mapping[str, Command]):
    """The worker's own commands, and behind them those of the app, which come when it is loaded."""

    def __init__(self, context: Context, own: Mapping[str, Command]) -> None:
        self._context = context
        self._own = own
        self._tags = count(_FIRST_TAG)

    def __getitem__(self, name: str) -> Command:
        """Return a command.  Raises: ``KeyError``."""
        own = self._own.get(name)
        if own is not None:
            return own
        for kind in CommandKind:
            options = self._context.tasks.get(task_of(kind, name))
            if options is not None:
                return partial(self._call, options)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """Return the names of all commands."""
        return iter([*self._own, *app_commands(self._context.tasks)])

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._own) + len(app_commands(self._context.tasks))

    def _call(self, options: TaskOptions, **arguments: object) -> Later:
        return Later(partial(self._begin, options, arguments))

    def _begin(self, options: TaskOptions, arguments: Mapping[str, object], reply: Reply) -> None:
        """Hand the command to the pool; ``reply`` is called once."""
        context = self._context
        if context.shutdown is not Shutdown.NONE:
            reply({"error": "the worker is ending and runs no command of the app any more"})
            return
        tag = next(self._tags)

        def on_time() -> None:
            if context.calls.pop(tag, None) is not None:
                context.pool.cancel(tag, 0)  # if it has not begun; its own limit ends it otherwise
                too_late = "no slot was free, or it took longer"
                reply({"error": f"no answer within {options.time_limit:g} s: {too_late}"})

        timer = context.loop.call_later(options.time_limit, on_time)

        def ended(outcome: Outcome) -> None:
            timer.cancel()
            reply(answer_of(outcome))

        context.calls[tag] = ended
        try:
            context.pool.submit(
                [Job(tag, call_payload(options.name, arguments), hard_limit_s=options.time_limit)]
            )
        except (PoolError, SerializationError) as error:
            timer.cancel()
            del context.calls[tag]
            reply({"error": repr(error)})


def app_commands(tasks: Mapping[str, TaskOptions]) -> dict[str, CommandKind]:
    """Return the commands of the app by their names."""
    prefixes = {task_of(kind, ""): kind for kind in CommandKind}
    return {
        name.removeprefix(prefix): kind
        for name in sorted(tasks)
        for prefix, kind in prefixes.items()
        if name.startswith(prefix)
    }


def call_payload(task: str, arguments: Mapping[str, object]) -> bytes:
    """Return the payload with which the pool runs a function of the app that is not a task.

    Raises: ``SerializationError``.
    """
    task_id = ids.new_task_id()
    headers = OutgoingHeaders(
        task=task,
        id=task_id,
        root_id=task_id,
        argsrepr="()",
        kwargsrepr="",
        origin=ids.origin(),
        ignore_result=False,
    )
    return encode_work(Delivery(0, "", task_id, encode_headers(headers), encode_body((), arguments)))


class _Record(msgspec.Struct, frozen=True):
    result: object = None


_record_decoder = msgspec.json.Decoder(_Record)


def answer_of(outcome: Outcome) -> object:
    """Return what the function returned, or ``{"error": ...}``."""
    if not isinstance(outcome, Done):
        return {"error": f"the command did not end by itself: {type(outcome).__name__}"}
    reply = decode_reply(outcome.reply)
    if reply.end is End.SUCCEEDED:
        return _record_decoder.decode(reply.record).result
    return {"error": exception_of(reply.record, reply.text or reply.end.name.lower())}
