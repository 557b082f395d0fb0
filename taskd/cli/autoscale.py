"""``taskctl autoscale``: explain the number of workers, or try other bounds on a recorded load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TextIO

import click
import msgspec

from taskd.base import exit_codes
from taskd.base.plural import counted
from taskd.cli.groups import CommandGroup
from taskd.cli.output import Failure, echo_json, echo_table, json_option, printable
from taskd.cli.session import Session, pass_session
from taskd.cli.status import socket_option
from taskd.supervisor.control.client import ControlClient
from taskd.supervisor.scaling.load import MachineBudget
from taskd.supervisor.scaling.recording import parse
from taskd.supervisor.scaling.scaler import bounds_of
from taskd.supervisor.scaling.simulation import Arrivals, SimulatedSecond, simulate

#: A simulation goes on for this time after the last arrival, so that one sees the workers leave.
_TAIL_S = 120


@click.group(cls=CommandGroup)
def autoscale() -> None:
    """Explain the number of workers, or try other bounds on a recorded load.

    Example: taskctl autoscale explain
    """


@autoscale.command()
@click.argument("group", required=False)
@socket_option
@json_option
@pass_session
def explain(session: Session, *, group: str | None, socket_path: str | None, as_json: bool) -> int:
    """Say why each scaled worker has as many processes as it has now.

    Example: taskctl autoscale explain mail
    """
    answer = _ask(session, socket_path)
    groups: Mapping[str, Mapping[str, object]] = answer.groups
    if group is not None:
        if group not in groups:
            known = f"scaled are: {', '.join(groups)}" if groups else "none has min_processes in the file"
            raise Failure(f'worker "{group}" is not scaled by load; {known}')
        groups = {group: groups[group]}
    if as_json:
        echo_json({"workers": groups})
        return exit_codes.OK
    if not groups:
        click.echo("no worker is scaled by load: none has min_processes in the file")
    for name, row in groups.items():
        processes = row["processes"]
        running = (
            counted(processes, "process", "processes") if isinstance(processes, int) else _known(processes)
        )
        click.echo(
            f"{printable(name)}: {running}, target {_known(row['target'])} "
            f"({row['least']} to {row['most']}), {row['leaving']} leaving"
        )
        for why in _texts(row["why"]):
            click.echo(f"  {printable(why)}")
    return exit_codes.OK


@autoscale.command("simulate")
@click.argument("file", required=False, type=click.File("r"))
@click.option("--changes", is_flag=True, help="Print only the seconds in which a number changed.")
@socket_option
@json_option
@pass_session
def simulate_(
    session: Session,
    *,
    file: TextIO | None,
    changes: bool,
    socket_path: str | None,
    as_json: bool,
) -> int:
    """Show what the bounds in the configuration file would do with a load.

    FILE has one JSON object a line: {"second": 0, "group": "mail", "tasks": 20, "service_s": 0.1}. - means
    standard input. Without FILE, taskctl takes the last load that the running daemon has measured.

    Example: taskctl autoscale simulate load.jsonl --changes
    """
    load = _recorded(session, socket_path) if file is None else _read(file)
    config = session.config
    bounds = {name: bounds_of(worker) for name, worker in config.workers.items() if worker.min_processes}
    if not bounds:
        raise Failure(f"{session.config_path}: no worker has min_processes, so none would be scaled")
    strange = sorted({each.group for each in load} - set(bounds))
    if strange:
        click.echo(f"not scaled by the file, passed over: {printable(', '.join(strange))}", err=True)
    seconds = max((each.second for each in load), default=0) + _TAIL_S
    budget = MachineBudget(config.supervisor.max_processes, config.supervisor.max_memory)
    window_s = config.supervisor.scale_down_after
    rows = list(simulate(bounds, load, budget=budget, seconds=seconds, window_s=window_s))
    shown = list(_changes(rows)) if changes else rows
    if as_json:
        echo_json({"rows": [asdict(row) for row in shown]})
    else:
        echo_table(
            ("SECOND", "WORKER", "PROCESSES", "WAITING", "WAIT", "WHY"),
            [(r.second, r.group, r.processes, round(r.ready), f"{r.wait_s:.1f}s", r.why) for r in shown],
            right=("SECOND", "PROCESSES", "WAITING", "WAIT"),
        )
    return exit_codes.OK


class _Answer(msgspec.Struct):
    groups: dict[str, dict[str, object]]
    load: list[Arrivals]


def _ask(session: Session, socket_path: str | None) -> _Answer:
    with ControlClient(socket_path or session.config.supervisor.control_socket) as client:
        return msgspec.convert(client.call("autoscale"), _Answer)


def _recorded(session: Session, socket_path: str | None) -> Sequence[Arrivals]:
    load = _ask(session, socket_path).load
    if not load:
        raise Failure("the daemon has measured no load of scaled workers yet; name a FILE")
    return load


def _read(file: Iterator[str]) -> Sequence[Arrivals]:
    try:
        return parse(file)
    except ValueError as error:
        raise Failure(f"not a recorded load: {error}", exit_codes.USAGE) from error


def _changes(rows: Sequence[SimulatedSecond]) -> Iterator[SimulatedSecond]:
    last: dict[str, int] = {}
    for row in rows:
        if last.get(row.group) != row.processes:
            last[row.group] = row.processes
            yield row


def _known(value: object) -> object:
    return "?" if value is None else value


def _texts(value: object) -> Sequence[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
