"""The verbs of taskctl by name.  A verb's module is imported when the verb is called or described.

``taskctl status`` must not pay for kombu, which ``taskctl inspect`` needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import click

from taskd.base.named import named
from taskd.config.installed import COMMANDS_GROUP, entries, loaded
from taskd.config.kinds import KindError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: By the groups of the help, and in their order: each verb and the command that carries it out.
GROUPS: Mapping[str, Mapping[str, str]] = {
    "The daemon and its programs": {
        "status": "taskd.cli.status:status",
        "start": "taskd.cli.programs:start",
        "stop": "taskd.cli.programs:stop",
        "restart": "taskd.cli.programs:restart",
        "scale": "taskd.cli.scale:scale",
        "plan": "taskd.cli.reload:plan",
        "reload": "taskd.cli.reload:reload",
        "signal": "taskd.cli.signals:signal_program",
        "logs": "taskd.cli.logs:logs",
        "deaths": "taskd.cli.deaths:deaths",
        "autoscale": "taskd.cli.autoscale:autoscale",
        "top": "taskd.cli.top:top",
        "shutdown": "taskd.cli.shutdown:shutdown",
    },
    "Tasks, queues and workers": {
        "inspect": "taskd.cli.inspect:inspect",
        "control": "taskd.cli.control:control",
        "events": "taskd.cli.events:events",
        "revoke": "taskd.cli.revoke:revoke",
        "rate-limit": "taskd.cli.limits:rate_limit",
        "send": "taskd.cli.messages:send",
        "result": "taskd.cli.messages:result",
        "queues": "taskd.cli.queues:queues",
        "purge": "taskd.cli.queues:purge",
        "dlq": "taskd.cli.dlq:dlq",
    },
    "Schedules, configuration, this machine": {
        "beat": "taskd.cli.beat.group:beat",
        "check": "taskd.cli.check:check",
        "config": "taskd.cli.config:config",
        "doctor": "taskd.cli.doctor.command:doctor",
        "store": "taskd.cli.store.command:store",
        "install-unit": "taskd.cli.install_unit:install_unit",
        "completion": "taskd.cli.completion:completion",
    },
}
VERBS: Mapping[str, str] = {name: path for group in GROUPS.values() for name, path in group.items()}


def others() -> Mapping[str, EntryPoint]:
    """Return the verbs of other packages.  Raises: ``KindError`` where two have one name."""
    return entries(COMMANDS_GROUP, VERBS)


def find(name: str) -> click.Command | None:
    """Return the verb of this name; None when there is none.  Raises: ``KindError``."""
    path = VERBS.get(name)
    if path is not None:
        return cast("click.Command", named(path))
    entry = others().get(name)
    if entry is None:
        return None
    command = loaded(entry)
    if not isinstance(command, click.Command):
        raise KindError(f'the verb "{name}" is not a command of click: {entry.value}')
    return command
