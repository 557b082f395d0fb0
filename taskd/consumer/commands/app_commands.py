"""Remote-control commands of the app: run on a slot of the pool, answered when they have ended.

A command is an errand of the pool, for the loop must never run the user's code: its outcome is the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from taskd.base.errors import PoolError, SerializationError
from taskd.base.loop import Loop
from taskd.consumer.orders import Orders, Shutdown
from taskd.consumer.running.errands import answer_of, call_payload
from taskd.consumer.running.work import Work
from taskd.control.node import Command, Later
from taskd.pools.base import Outcome
from taskd.protocol.commands import CommandKind, task_of
from taskd.sending.options import TaskOptions

logger = logging.getLogger(__name__)

Reply = Callable[[object], None]


class AllCommands(Mapping[str, Command]):
    """The worker's own commands, and behind them those of the app, which come when it is loaded."""

    def __init__(self, loop: Loop, orders: Orders, work: Work, own: Mapping[str, Command]) -> None:
        self._loop = loop
        self._orders = orders
        self._work = work
        self._own = own

    def __getitem__(self, name: str) -> Command:
        """Return a command.  Raises: ``KeyError``."""
        own = self._own.get(name)
        if own is not None:
            return own
        for kind in CommandKind:
            options = self._work.tasks.get(task_of(kind, name))
            if options is not None:
                return partial(self._call, options)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """Return the names of all commands."""
        return iter([*self._own, *app_commands(self._work.tasks)])

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._own) + len(app_commands(self._work.tasks))

    def _call(self, options: TaskOptions, **arguments: object) -> Later:
        return Later(partial(self._begin, options, arguments))

    def _begin(self, options: TaskOptions, arguments: Mapping[str, object], reply: Reply) -> None:
        """Hand the command to the pool; ``reply`` is called once."""
        errands = self._work.errands
        if self._orders.shutdown is not Shutdown.NONE:
            reply({"error": "the worker is ending and runs no command of the app any more"})
            return

        def on_time() -> None:
            if errands.give_up(tag):
                too_late = "no slot was free, or it took longer"
                reply({"error": f"no answer within {options.time_limit:g} s: {too_late}"})

        timer = self._loop.call_later(options.time_limit, on_time)

        def ended(outcome: Outcome) -> None:
            timer.cancel()
            reply(answer_of(outcome))

        try:
            tag = errands.run(call_payload(options.name, arguments), options.time_limit, ended)
        except (PoolError, SerializationError) as error:
            timer.cancel()
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
