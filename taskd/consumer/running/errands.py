"""Runs functions of the app without a message on the pool, such as its commands and hooks.

The loop must never run the user's code, and with prefork it could not.  Nothing of an errand is stored or
settled: its outcome is the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import count

import msgspec

from taskd.base import ids
from taskd.base.errors import PoolError
from taskd.pools.base import Cancelled, Done, Job, Outcome, Pool
from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import Assignment, End, decode_reply, encode
from taskd.protocol.message import OutgoingHeaders, encode_body, encode_headers
from taskd.protocol.results import exception_text

logger = logging.getLogger(__name__)

#: Tags of errands begin here; tags of tasks count from 1.
_FIRST_TAG = 2**52


class Errands:
    """The errands of one pool.  For the loop's thread."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._open: dict[int, tuple[Job, Callable[[Outcome], None]]] = {}
        self._tags = count(_FIRST_TAG)

    def __len__(self) -> int:
        return len(self._open)

    def run(
        self, payload: bytes, limit_s: float, ended: Callable[[Outcome], None], soft_limit_s: float = 0.0
    ) -> int:
        """Have it run as soon as a slot is free; return its tag.  ``ended`` is called once, with the outcome.

        Raises: ``PoolError``.
        """
        tag = next(self._tags)
        job = Job(tag, payload, soft_limit_s=soft_limit_s, hard_limit_s=limit_s)
        self._open[tag] = (job, ended)
        try:
            self._pool.submit([job])
        except BaseException:
            del self._open[tag]
            raise
        return tag

    def put_back(self, tags: Sequence[int]) -> None:
        """Have those run after all that the pool gave back: no broker keeps an errand for another worker."""
        for tag in tags:
            found = self._open.get(tag)
            if found is None:
                continue
            try:
                self._pool.submit([found[0]])
            except PoolError:
                self.take(Cancelled(tag, started=False))

    def give_up(self, tag: int) -> bool:
        """Wait no more; return whether it was still open.  One that has begun is ended by its own limit."""
        if self._open.pop(tag, None) is None:
            return False
        self._pool.cancel(tag, 0)
        return True

    def take(self, outcome: Outcome) -> None:
        """Hand an outcome to whoever waits for it, if it is of an errand that somebody still waits for."""
        found = self._open.pop(outcome.tag, None)
        if found is None:
            return
        try:
            found[1](outcome)
        except Exception:  # the barrier of jobs that are not messages
            logger.exception("the answer of a command of the app was lost")


def call_payload(task: str, arguments: Mapping[str, object]) -> bytes:
    """Return the payload with which the pool runs a function of the app that is not a task.

    Raises: ``SerializationError``.
    """
    task_id = ids.new_task_id()
    headers = OutgoingHeaders(
        task=task,
        id=task_id,
        root_id=task_id,
        argsrepr="()",
        kwargsrepr="",
        origin=ids.origin(),
        ignore_result=False,
    )
    delivery = Delivery(0, "", task_id, encode_headers(headers), encode_body((), arguments))
    return encode(Assignment(delivery))


class _Record(msgspec.Struct, frozen=True):
    result: object = None


_record_decoder = msgspec.json.Decoder(_Record)


def answer_of(outcome: Outcome) -> object:
    """Return what the function returned, or ``{"error": ...}``."""
    if not isinstance(outcome, Done):
        return {"error": f"the command did not end by itself: {type(outcome).__name__}"}
    reply = decode_reply(outcome.reply)
    if reply.end is End.SUCCEEDED:
        return _record_decoder.decode(reply.record).result
    return {"error": exception_text(reply.record, reply.text or reply.end.name.lower())}
