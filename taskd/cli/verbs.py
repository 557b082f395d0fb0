"""The verbs of taskctl by name.  A verb's module is imported when the verb is called or described.

``taskctl status`` must not pay for kombu, which ``taskctl inspect`` needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import click

from taskd.base.named import named
from taskd.config.installed import COMMANDS_GROUP, Installed, entries, loaded

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
        "import": "taskd.cli.importing.command:import_",
        "doctor": "taskd.cli.doctor.command:doctor",
        "store": "taskd.cli.store.command:store",
        "install-unit": "taskd.cli.install_unit:install_unit",
        "completion": "taskd.cli.completion:completion",
    },
}
VERBS: Mapping[str, str] = {name: path for group in GROUPS.values() for name, path in group.items()}


#: ``taskctl help`` is not a verb of its own, yet other packages cannot have the name.
HELP = "help"


def others() -> Installed:
    """Return the verbs of other packages; taskctl's own win, and a name of two packages is refused."""
    return entries(COMMANDS_GROUP, {*VERBS, HELP})


def find(name: str) -> click.Command | None:
    """Return the verb of this name; None when there is none.

    Raises: ``KindError``, which names the packages, for one that two have or that cannot be used.
    """
    path = VERBS.get(name)
    if path is not None:
        return cast("click.Command", named(path))
    found = others()
    if name in found.refused:
        raise found.refused[name]
    entry = found.usable.get(name)
    return loaded(entry, click.Command, "a command of click") if entry is not None else None
