"""Parks a message on which the worker itself fails, with the evidence, and answers a waiting client.

Every step that concerns one message alone ends here when something unforeseen is raised in it.  Put back into
its queue, such a message would end one worker after the other.
"""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass

import msgspec

from taskd.base.errors import ProtocolError
from taskd.base.safe_text import Block
from taskd.consumer.settling import decided_ends
from taskd.consumer.settling.settling import Settling
from taskd.protocol.delivery import Dead, Delivery
from taskd.protocol.execution import DecidedEnd
from taskd.protocol.message import TaskHeaders, decode_headers

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parked:
    """A message on which the worker has failed."""

    letter: Dead
    #: Where the worker failed.
    traceback: str
    #: None for a message of a task that nobody can wait for.
    headers: TaskHeaders | None
    end: DecidedEnd | None


def parked_for(delivery: Delivery, error: Exception, headers: TaskHeaders | None) -> Parked:
    """Return the dead letter and the end of a message on which the worker has failed; raises nothing."""
    trace = "".join(traceback.format_exception(error))
    name, task_id = (headers.task, headers.id) if headers else ("?", delivery.task_id)
    logger.error("task=%s id=%s the worker failed on this message; parked\n%s", name, task_id, Block(trace))
    evidence = msgspec.json.encode({"traceback": trace.encode("utf-8", "replace").decode()})
    letter = Dead(delivery.tag, f"the worker failed on it: {in_a_line(error)}", evidence)
    try:
        headers = headers or decode_headers(delivery.headers)
    except ProtocolError:
        return Parked(letter, trace, None, None)  # nobody can wait for it
    except Exception:
        logger.exception("id=%s the headers of a parked message cannot be read", task_id)
        return Parked(letter, trace, None, None)
    return Parked(letter, trace, headers, decided_ends.broken(headers, trace))


def answer_parked(
    settling: Settling, delivery: Delivery, headers: TaskHeaders, end: DecidedEnd, *, last_word: bool
) -> None:
    """Queue the answer of a parked message; raises nothing.

    ``last_word``: it was acknowledged before it ran, so that no message is left to be parked.
    """
    before = settling.mark()
    try:
        after = decided_ends.aftermath(headers, delivery)
        settling.answer(end, after, delivery, headers, last_word=last_word)
        settling.follow(after)
    except Exception:
        settling.back_to(before)
        logger.exception("task=%s id=%s what follows a parked message is lost", headers.task, headers.id)
        settling.keep_result(end.task_id, end.state, end.record, sender=delivery, last_word=last_word)


def in_a_line(error: Exception) -> str:
    """Return an exception as one short line."""
    lines = traceback.format_exception_only(error)
    return " ".join(lines[-1].split())[:200]
