"""Ask and tell the workers over the broker: what ``inspect``, ``revoke`` and ``rate-limit`` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import click

from taskd.base import exit_codes
from taskd.base.errors import ControlError
from taskd.base.ids import node_of
from taskd.cli import daemon
from taskd.cli.output import Failure, echo_json, printable
from taskd.cli.session import duration
from taskd.config.kinds import BrokerCan
from taskd.config.schema import Config
from taskd.control.client import RemoteControl
from taskd.supervisor.control.client import ControlClient

_CONSUMING = ("READY", "DRAINING")

timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=duration,
    default="1s",
    show_default=True,
    help="How long to wait for answers.",
)
destination_option = click.option(
    "-d",
    "--destination",
    multiple=True,
    metavar="NODE",
    help="Ask only this node, such as mail-1@host, or mail-1 on this host; may be repeated.",
)


class NobodyAnswers(Failure):
    """No worker answered in time."""


def ask(
    config: Config,
    method: str,
    arguments: Mapping[str, object],
    *,
    destination: Sequence[str],
    timeout_s: float,
) -> dict[str, object]:
    """Return the answers by node.  Raises: ``NobodyAnswers``."""
    nodes = [node if "@" in node else _node_of(config, node) for node in destination]
    limit = None if nodes else _workers_of_this_host(config)
    with RemoteControl(config.broker, config.stores) as remote:
        answers = remote.inspect(
            method, arguments, destination=nodes or None, timeout_s=timeout_s, limit=limit
        )
    if not answers:
        asked = f" ({', '.join(nodes)})" if nodes else ""
        raise NobodyAnswers(
            f"no worker answered within {timeout_s:g} s{asked}; is taskd running?", exit_codes.UNAVAILABLE
        )
    return answers


def _node_of(config: Config, program: str) -> str:
    worker = config.workers.get(program.rpartition("-")[0])
    return node_of(program, "" if worker is None else worker.node)


def tell(
    config: Config,
    requests: Sequence[tuple[str, Mapping[str, object]]],
    *,
    destination: Sequence[str],
    timeout_s: float,
    as_json: bool,
    in_words: Callable[[Mapping[str, object], str], str] | None = None,
) -> int:
    """Send commands, print what each worker says to them, and return the exit status.

    ``in_words`` gets the arguments and the text of an answer, and returns the text for people.
    """
    failed = False
    replies = []
    for method, arguments in requests:
        answers = ask(config, method, arguments, destination=destination, timeout_s=timeout_s)
        failed = failed or any(isinstance(each, dict) and "error" in each for each in answers.values())
        for node, answer in answers.items():
            replies.append({"command": method, "node": node, "answer": answer})
            if not as_json:
                said = str(_said(answer))
                click.echo(printable(f"{node}: {in_words(arguments, said) if in_words else said}"))
    if as_json:
        echo_json({"replies": replies})
    return exit_codes.FAILURE if failed else exit_codes.OK


def _said(answer: object) -> object:
    if isinstance(answer, dict) and len(answer) == 1:
        (answer,) = answer.values()
    return "done" if answer is None else answer


def _workers_of_this_host(config: Config) -> int | None:
    """Return how many answers there can be, so that nobody waits for more; None when unknown.

    A broker that spans hosts may have workers on others.
    """
    return None if BrokerCan.SPAN_HOSTS in config.broker_kind.can else consuming_here(config)


def consuming_here(config: Config) -> int | None:
    """Return how many workers of this host's daemon consume; None for none, or when it does not answer."""
    try:
        with ControlClient(config.supervisor.control_socket) as client:
            rows = daemon.fetch_status(client).programs
    except ControlError:
        return None
    return sum(row.kind == "worker" and row.state in _CONSUMING for row in rows) or None
