"""``python -m taskd.worker.shadow APP``: say of messages how taskd's worker would have taken them.

Started by ``taskctl import --shadow``, which has seen the messages and taken none.  Nothing is run or sent.
The verdict is the worker's own (``consumer/claiming/strategy.py``); whether a body is read is the app's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import BufferedReader, BufferedWriter

from taskd import __version__
from taskd.base import exit_codes
from taskd.base.errors import ProtocolError
from taskd.base.exhaustive import assert_never
from taskd.base.resolve import failure_of, with_remedy
from taskd.consumer.claiming import strategy
from taskd.execution.opening import MessageReader, read_messages
from taskd.program.bond import die_with_supervisor
from taskd.protocol.delivery import Delivery
from taskd.protocol.message import raw_headers
from taskd.protocol.protocol_1 import of_protocol_2
from taskd.protocol.shadow import Judgement, JudgeReady, MessageFate, Sighting, framed, read_sightings
from taskd.revocations.known import Revocations
from taskd.sending.forms import Acks
from taskd.sending.options import TaskOptions


def judged(sighting: Sighting, reader: MessageReader) -> Judgement:
    """Return the worker's verdict on one message at the moment at which it was seen."""
    delivery = of_protocol_2(sighting.delivery)
    fate, task, reason = _fate(delivery, reader, sighting.seen_at)
    return Judgement(delivery.queue, task, delivery.task_id, fate, reason, _sender_of(delivery))


def _fate(delivery: Delivery, reader: MessageReader, now: float) -> tuple[MessageFate, str, str]:
    verdict = strategy.decide(delivery, reader.tasks, Revocations(), now)
    match verdict:
        case strategy.Malformed(reason, known):
            found = (MessageFate.REFUSE, known.task if known else "", reason)
        case strategy.Unknown(headers):
            found = (MessageFate.UNKNOWN, headers.task, "no task of the app has this name")
        case strategy.Expired(headers):
            found = (MessageFate.END, headers.task, "it has expired")
        case strategy.Revoked(headers):
            found = (MessageFate.END, headers.task, "it is revoked")
        case strategy.NotDue(due_at):
            later = _fate(delivery, reader, due_at)
            found = (MessageFate.WAIT, *later[1:]) if later[0] is MessageFate.RUN else later
        case strategy.Runnable(headers):
            unreadable = reader.unreadable(delivery, headers.compression)
            found = (MessageFate.REFUSE if unreadable else MessageFate.RUN, headers.task, unreadable)
        case _:
            assert_never(verdict)
    return found


def _sender_of(delivery: Delivery) -> str:
    """Return the host of a sender, whose processes are many; else the language that it is written in."""
    try:
        headers = raw_headers(delivery.headers)
    except ProtocolError:
        return ""
    origin, language = (headers.get(name) for name in ("origin", "lang"))
    if isinstance(origin, str) and origin:
        return origin.rpartition("@")[2]
    return f"a sender in {language}" if isinstance(language, str) and language else ""


def _shown(options: TaskOptions) -> str:
    """Return what counts for a task, beside what its worker sets."""
    parts = ["acks early" if options.acks is Acks.EARLY else "acks late"]
    if options.soft_time_limit:
        parts.append(f"soft limit {options.soft_time_limit:g} s")
    if options.time_limit:
        parts.append(f"limit {options.time_limit:g} s")
    if options.rate_limit:
        parts.append(f"rate {options.rate_limit:g}/s")
    return ", ".join(parts)


def answer(reader: MessageReader, incoming: BufferedReader, outgoing: BufferedWriter) -> None:
    """Say that the app is there, and judge batch after batch until the other side ends."""

    def send(value: JudgeReady | Sequence[Judgement]) -> None:
        outgoing.write(framed(value))
        outgoing.flush()

    send(JudgeReady(__version__, {name: _shown(options) for name, options in reader.tasks.items()}))
    while True:
        try:
            sightings = read_sightings(incoming.read)
        except ProtocolError:
            return
        send([judged(each, reader) for each in sightings])


def main() -> None:
    """Import the app and answer; leave without waiting for threads of the user's."""
    die_with_supervisor()
    answer_fd = os.dup(sys.stdout.fileno())
    order_fd = os.dup(sys.stdin.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    path = sys.argv[1]
    status = exit_codes.OK
    try:
        with os.fdopen(order_fd, "rb") as incoming, os.fdopen(answer_fd, "wb") as outgoing:
            answer(read_messages(path), incoming, outgoing)
    except BrokenPipeError:
        pass  # nobody wants to know any more
    except BaseException as error:  # noqa: BLE001 - whatever the user's module raises is what is asked for
        reason, detail = failure_of(error)
        sys.stderr.write(f"{reason}\n{with_remedy(detail, path)}\n")
        status = exit_codes.APP_BROKEN
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
