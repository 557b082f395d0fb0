"""``taskctl events``: what workers tell about themselves and their tasks, line by line."""

from __future__ import annotations

import select
from collections.abc import Mapping
from contextlib import closing

import click

from taskd.base import clock, exit_codes
from taskd.brokers.base import Broker
from taskd.brokers.factory import connect
from taskd.cli.output import age, json_line, local_time, printable
from taskd.cli.session import Session, duration, pass_session
from taskd.events.receiver import Receiver
from taskd.events.state import ClusterState
from taskd.protocol import pidbox
from taskd.protocol.delivery import Outgoing
from taskd.protocol.events import Seen
from taskd.protocol.lamport import LamportClock

#: The longest wait between two looks: a wake-up may be lost.
_LOOK_S = 1.0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")
@click.option("--dump", is_flag=True, help="Print all fields of each event.")
@click.option("--enable", is_flag=True, help="First tell the workers to send task events.")
@click.option(
    "--routing-key",
    default="#",
    show_default=True,
    help='Follow only these events: "task.#", "worker.#" or "beat.#".',
)
@click.option("--count", type=click.IntRange(min=1), help="End after this many events.")
@click.option("--timeout", "timeout_s", type=duration, help="End after this time.  [default: never]")
@pass_session
def events(
    session: Session,
    *,
    as_json: bool,
    dump: bool,
    enable: bool,
    routing_key: str,
    count: int | None,
    timeout_s: float | None,
) -> int:
    """Follow what workers and tasks do.

    Heartbeats always come; task events come if the workers send them (events = true, or --enable). The exit
    status is 69 when no event was heard.

    Example: taskctl events --enable --routing-key "task.#"
    """
    deadline = None if timeout_s is None else clock.monotonic() + timeout_s
    logical = LamportClock()
    picture = ClusterState()
    heard = 0
    with closing(connect(session.config.broker, session.config.stores)) as broker:
        receiver = Receiver(broker, logical, routing_key)
        _call(broker, logical, ("enable_events", "heartbeat") if enable else ("heartbeat",))
        try:
            while deadline is None or clock.monotonic() < deadline:
                for event in receiver.receive():
                    heard += 1
                    picture.apply(event, clock.monotonic())
                    click.echo(_line(event, picture, as_json=as_json, dump=dump))
                    if heard == count:
                        return exit_codes.OK
                left_s = _LOOK_S if deadline is None else min(_LOOK_S, deadline - clock.monotonic())
                select.select([receiver.fileno()], [], [], max(0.0, left_s))
        except KeyboardInterrupt:
            pass  # how one ends it
    return exit_codes.OK if heard else exit_codes.UNAVAILABLE


def _call(broker: Broker, logical: LamportClock, methods: tuple[str, ...]) -> None:
    """Tell every worker, waiting for no answer: who sends nothing while nobody listens, begins."""
    with closing(broker.publisher()) as publisher:
        for method in methods:
            headers, body = pidbox.encode_request(method, {}, clock=logical.forward())
            publisher.publish(
                [Outgoing(exchange=pidbox.EXCHANGE, routing_key="", headers=headers, body=body)]
            )


def _line(event: Seen, picture: ClusterState, *, as_json: bool, dump: bool) -> str:
    if as_json:
        return json_line(event.raw)
    head = f"{event.hostname} [{local_time(event.timestamp)}] {event.type}"
    rest = _fields(event.raw) if dump else _summary(event, picture)
    return printable(f"{head}: {rest}" if rest else head)


def _fields(raw: Mapping[str, object]) -> str:
    shown = sorted(set(raw) - {"type", "hostname", "timestamp"})
    return ", ".join(f"{name}={raw[name]!r}" for name in shown)


def _summary(event: Seen, picture: ClusterState) -> str:
    if event.group == "worker" and "active" in event.raw:
        return f"active {event.raw['active']}, processed {event.raw.get('processed')}"
    task = picture.tasks.get(event.text("uuid"))
    if task is None:
        return _fields(event.raw)
    ended = f" {task.outcome}" if task.outcome else ""
    took = f" in {age(task.runtime_s)}" if task.runtime_s is not None else ""
    call = f"({task.args})" if event.type in ("task-sent", "task-received") and task.args else ""
    return f"{task.name}{call}[{task.uuid}]{ended}{took}"
