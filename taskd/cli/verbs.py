"""The verbs of taskctl by name.  A verb's module is imported when the verb is called or described.

``taskctl status`` must not pay for kombu, which ``taskctl inspect`` needs.
"""

from __future__ import annotations

import click

#: In the order of the help.
DAEMON = (
    *("status", "start", "stop", "restart", "scale", "plan", "reload", "signal"),
    *("logs", "deaths", "autoscale", "top", "shutdown"),
)
BROKER = ("inspect", "control", "events", "revoke", "rate-limit", "send", "result", "queues", "purge", "dlq")
LOCAL = ("beat", "check", "config", "doctor", "install-unit", "completion")
VERBS = (*DAEMON, *BROKER, *LOCAL)
#: The groups of the help.
GROUPS = {
    "The daemon and its programs": DAEMON,
    "Tasks, queues and workers": BROKER,
    "Schedules, configuration, this machine": LOCAL,
}


def find(name: str) -> click.Command | None:
    """Return the verb of this name; None when there is none."""
    if name in DAEMON:
        return _of_the_daemon(name)
    if name in BROKER:
        return _of_the_broker(name)
    return _local(name)


def _of_the_daemon(name: str) -> click.Command | None:  # noqa: PLR0911 - one return for each verb
    """Return a verb that speaks to the daemon over its control socket."""
    match name:
        case "status":
            from taskd.cli import status

            return status.status
        case "start" | "stop" | "restart":
            from taskd.cli import programs

            return {"start": programs.start, "stop": programs.stop, "restart": programs.restart}[name]
        case "scale":
            from taskd.cli import scale

            return scale.scale
        case "plan" | "reload":
            from taskd.cli import reload

            return {"plan": reload.plan, "reload": reload.reload}[name]
        case "signal":
            from taskd.cli import signals

            return signals.signal_program
        case "autoscale":
            from taskd.cli import autoscale

            return autoscale.autoscale
        case "top":
            from taskd.cli import top

            return top.top
        case "deaths":
            from taskd.cli import deaths

            return deaths.deaths
        case "logs":
            from taskd.cli import logs

            return logs.logs
        case "shutdown":
            from taskd.cli import shutdown

            return shutdown.shutdown
        case _:
            return None


def _of_the_broker(name: str) -> click.Command | None:  # noqa: PLR0911 - one return for each verb
    """Return a verb that works on queues, or asks workers over the broker."""
    match name:
        case "inspect":
            from taskd.cli import inspect

            return inspect.inspect
        case "control":
            from taskd.cli import control

            return control.control
        case "events":
            from taskd.cli import events

            return events.events
        case "revoke":
            from taskd.cli import revoke

            return revoke.revoke
        case "rate-limit":
            from taskd.cli import limits

            return limits.rate_limit
        case "send" | "result":
            from taskd.cli import messages

            return messages.send if name == "send" else messages.result
        case "queues" | "purge":
            from taskd.cli import queues

            return queues.queues if name == "queues" else queues.purge
        case "dlq":
            from taskd.cli import dlq

            return dlq.dlq
        case _:
            return None


def _local(name: str) -> click.Command | None:  # noqa: PLR0911 - one return for each verb
    """Return a verb that works on this machine alone."""
    match name:
        case "beat":
            from taskd.cli.beat import group

            return group.beat
        case "check":
            from taskd.cli import check

            return check.check
        case "config":
            from taskd.cli import config

            return config.config
        case "doctor":
            from taskd.cli.doctor import command

            return command.doctor
        case "install-unit":
            from taskd.cli import install_unit

            return install_unit.install_unit
        case "completion":
            from taskd.cli import completion

            return completion.completion
        case _:
            return None
