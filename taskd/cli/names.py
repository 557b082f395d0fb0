"""Words that a shell completes, and those that the daemon knows: programs, and ids of running tasks.

Words come from the running daemon and from files of this host, never from a broker over the network: whoever
pressed the tabulator key waits.  On any trouble nothing more is offered, and nothing is printed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr

import click
import msgspec

from taskd.base.errors import TaskdError
from taskd.cli import children, daemon
from taskd.cli.session import Session
from taskd.cli.time_limit import alarm
from taskd.supervisor.control.client import ControlClient

_TIMEOUT_S = 1.0
#: Names and ids come from others' messages too, and a shell puts the word into its line as it is.  Nothing is
#: offered that the shell would take for more than a word.
_PLAIN = re.compile(r"[\w@][\w@.:/+=-]*")

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def completer(find: Callable[[Session, str], Iterable[str]]) -> Completer:
    """Return a completer that offers what ``find`` gives for the session and the control socket."""

    def complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        given = context.find_root().params.get("config_path")
        session = Session(given if isinstance(given, str) else None)
        words: dict[str, None] = {}
        try:
            with redirect_stderr(io.StringIO()), alarm(_TIMEOUT_S):
                socket_path = context.params.get("socket_path")
                if not isinstance(socket_path, str):
                    socket_path = session.config.supervisor.control_socket
                for word in find(session, socket_path):
                    words[word] = None
        except (TaskdError, msgspec.MsgspecError, OSError):
            pass  # the names found until then are offered
        return [word for word in words if word.startswith(incomplete) and _PLAIN.fullmatch(word)]

    return complete


def _programs(_session: Session, socket_path: str) -> Iterator[str]:
    for row in daemon.fetch_status(ControlClient(socket_path), _TIMEOUT_S).programs:
        yield from (daemon.group_of(row), row.name)


def _running_ids(_session: Session, socket_path: str) -> Iterator[str]:
    with ControlClient(socket_path) as client:
        yield from (row.id for row in children.fetch(client))


complete_programs = completer(_programs)
complete_running_ids = completer(_running_ids)
name_argument = click.argument("name", shell_complete=complete_programs)
