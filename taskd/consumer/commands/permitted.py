"""The remote control that a worker carries out: ``[security] remote_control``.

Everybody who can write to the broker can send a request.  A refused one is answered, so that the asker knows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import partial

from taskd.control.node import Command
from taskd.protocol.commands import BY_NAME, CommandKind, task_of
from taskd.sending.options import TaskOptions

logger = logging.getLogger(__name__)


class Permitted(Mapping[str, Command]):
    """The commands of a worker, those that are not permitted as ones that refuse."""

    def __init__(
        self, commands: Mapping[str, Command], tasks: Mapping[str, TaskOptions], remote_control: str
    ) -> None:
        """``tasks``: the worker's live table, in which the app's commands are, too."""
        self._commands = commands
        self._tasks = tasks
        self._remote_control = remote_control

    def __getitem__(self, name: str) -> Command:
        """Return a command.  Raises: ``KeyError``."""
        command = self._commands[name]
        if self._remote_control == "all":
            return command
        if self._remote_control == "off" or not self._only_looks(name):
            return partial(self._refuse, name)
        if name == "hello":  # it also tells of revocations elsewhere
            return lambda from_node="", **_told: command(from_node=from_node)
        return command

    def _only_looks(self, name: str) -> bool:
        spec = BY_NAME.get(name)
        return spec.kind is CommandKind.INSPECT if spec else task_of(CommandKind.INSPECT, name) in self._tasks

    def _refuse(self, name: str, **_arguments: object) -> object:
        why = f'this worker has [security] remote_control = "{self._remote_control}"'
        logger.warning("remote control refused method=%s: %s", name, why)
        return {"error": f"{name} is refused: {why}"}

    def __iter__(self) -> Iterator[str]:
        """Return the names of all commands."""
        return iter(self._commands)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._commands)
