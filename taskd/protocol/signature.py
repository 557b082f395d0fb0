"""Celery's signatures: a task that is to be sent when another one has ended, as a JSON object.

They travel in the third part of a task's body (``embed``): ``callbacks`` for after a success, ``errbacks``
for after a failure.  ``chain`` and ``chord`` in the same place are refused, and so are signatures that
stand for several tasks: a worker that ran the task without them would drop them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from taskd.errors import ProtocolError


class SignatureOptions(msgspec.Struct, frozen=True):
    """What a signature may say about its sending; options that are not here are left alone."""

    task_id: str | None = None
    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    priority: int | None = None
    countdown: float | None = None
    eta: datetime | None = None
    expires: float | datetime | None = None
    headers: dict[str, object] | None = None
    max_retries: int | None = None
    retry_delay: float | None = None
    ignore_result: bool | None = None
    soft_time_limit: float | None = None
    time_limit: float | None = None
    link: list[dict[str, object]] | dict[str, object] | None = None
    link_error: list[dict[str, object]] | dict[str, object] | None = None
    chain: list[object] | None = None
    chord: object = None


class Signature(msgspec.Struct, frozen=True):
    """One task to be sent.  ``immutable``: it does not get the other task's outcome as its first argument."""

    task: str
    args: list[object] = []
    kwargs: dict[str, object] = {}
    options: SignatureOptions = SignatureOptions()
    subtask_type: str | None = None
    immutable: bool = False


def read_signatures(value: object, what: str) -> Sequence[Signature]:
    """Return the signatures of a list, or of a single object; those linked to them are checked too.

    Raises: ``ProtocolError`` naming ``what`` for one that is none or that stands for several tasks.
    """
    found = _each(value, what)
    waiting = list(found)
    while waiting:
        options = waiting.pop().options
        waiting += _each(options.link, f"link of {what}")
        waiting += _each(options.link_error, f"link_error of {what}")
    return found


def _each(value: object, what: str) -> list[Signature]:
    if not value:
        return []
    try:
        read = msgspec.convert([value] if isinstance(value, Mapping) else value, list[Signature])
    except (msgspec.ValidationError, RecursionError) as error:
        raise ProtocolError(f"{what}: not a signature: {error}") from error
    for signature in read:
        many = signature.subtask_type or ("chain" if signature.options.chain else "")
        many = many or ("chord" if signature.options.chord else "")
        if many:
            raise ProtocolError(
                f"{what}: {signature.task} is or carries a {many}; only single tasks are supported there"
            )
    return read


def read_embed(embed: Mapping[str, object]) -> tuple[Sequence[Signature], Sequence[Signature]]:
    """Return the callbacks and the errbacks of a message.

    Raises: ``ProtocolError`` for a chain or a chord, and as ``read_signatures``.
    """
    refused = [name for name in ("chain", "chord") if embed.get(name)]
    if refused:
        raise ProtocolError(
            f"the message carries a {' and a '.join(refused)}; chains and chords are not supported yet, and "
            f"running the task without them would drop them"
        )
    return (
        read_signatures(embed.get("callbacks"), "callbacks"),
        read_signatures(embed.get("errbacks"), "errbacks"),
    )
