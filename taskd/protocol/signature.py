"""Celery's signatures: a task that is to be sent when another one has ended, as a JSON object.

They travel in the third part of a task's body (``embed``): ``callbacks`` for after a success, ``errbacks``
for after a failure, and ``chain``, the steps that follow, the next one at its end.  Whoever has run a task of
a chain sends the next step with the rest of the chain.  A signature may stand for several tasks: a ``group``
becomes its members, a ``chain`` its first task with the others behind it.

A chord is refused: its body runs when all tasks of its header have ended, which somebody would have to
count.  So are groups with something behind them, which is a chord by another name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from taskd.errors import ProtocolError

#: Signatures in one message; more are a mistake, or somebody's attempt to keep a worker busy.
_MOST = 10_000


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
    #: What follows this task, the next step last.
    chain: list[dict[str, object]] | None = None
    chord: object = None
    shadow: str | None = None
    reply_to: str | None = None
    group_id: str | None = None
    group_index: int | None = None
    stamped_headers: list[str] | None = None


class Signature(msgspec.Struct, frozen=True):
    """One task to be sent.  ``immutable``: it does not get the other task's outcome as its first argument."""

    task: str
    args: list[object] = []
    kwargs: dict[str, object] = {}
    options: SignatureOptions = SignatureOptions()
    subtask_type: str | None = None
    immutable: bool = False
    #: Values of the stamped headers, which Celery writes among the options.
    stamps: dict[str, object] = {}


class Embed(msgspec.Struct, frozen=True):
    """What a message carries beside its task, checked."""

    callbacks: Sequence[Signature]
    errbacks: Sequence[Signature]
    #: The tasks of the next step of its chain, ready to be sent: several when that is a group.
    step: Sequence[Signature]


def read_signatures(value: object, what: str) -> Sequence[Signature]:
    """Return the single tasks that a list of signatures, or one signature, stands for.

    What is linked to them is checked too.
    Raises: ``ProtocolError`` naming ``what`` for what is no signature, and for a chord.
    """
    found = _each(value, what)
    _check_linked(found, what)
    return found


def _check_linked(signatures: Sequence[Signature], what: str) -> None:
    waiting, seen = list(signatures), len(signatures)
    while waiting:
        options = waiting.pop().options
        linked = _each(options.link, f"link of {what}") + _each(options.link_error, f"link_error of {what}")
        for at, step in enumerate(options.chain or ()):
            linked += _step(step, last=at == 0, what=f"chain of {what}")
        waiting += linked
        seen += len(linked)
        if seen > _MOST:
            raise ProtocolError(f"{what}: more than {_MOST} signatures in one message")


def read_embed(embed: Mapping[str, object]) -> Embed:
    """Return the checked signatures of a message.

    Raises: ``ProtocolError`` for a chord, and as ``read_signatures``.
    """
    if embed.get("chord"):
        raise ProtocolError(
            "the message belongs to a chord, or to a group with a task behind it; chords are not supported "
            "yet, and running the task without counting it would leave the chord's body waiting for ever"
        )
    chain = embed.get("chain") or []
    if not isinstance(chain, (list, tuple)):
        raise ProtocolError(f"chain is of type {type(chain).__name__}; expected a list of signatures")
    steps = [_step(step, last=at == 0, what="chain") for at, step in enumerate(chain)]
    for step in steps:
        _check_linked(step, "chain")
    return Embed(
        callbacks=read_signatures(embed.get("callbacks"), "callbacks"),
        errbacks=read_signatures(embed.get("errbacks"), "errbacks"),
        step=_with_chain(steps[-1], list(chain[:-1])) if steps else (),
    )


def promised_ids(embed: Mapping[str, object]) -> list[str]:
    """Return the ids of the tasks that were to follow in the chain or chord: somebody may wait for them."""
    waiting = [*_list(embed.get("chain")), *_list(embed.get("chord"))]
    ids: list[str] = []
    while waiting and len(ids) < _MOST:
        each = waiting.pop()
        if not isinstance(each, Mapping) or not isinstance(options := each.get("options"), Mapping):
            continue
        task_id, kwargs = options.get("task_id"), each.get("kwargs")
        if isinstance(task_id, str) and task_id and each.get("subtask_type") != "group":
            ids.append(task_id)
        if isinstance(kwargs, Mapping) and each.get("subtask_type"):
            waiting += [*_list(kwargs.get("tasks")), *_list(kwargs.get("header")), *_list(kwargs.get("body"))]
        waiting += [*_list(options.get("chain")), *_list(options.get("chord"))]
    return ids


def _list(value: object) -> list[object]:
    if isinstance(value, (list, tuple)):
        return list(value)
    return [value] if isinstance(value, Mapping) else []


def _step(value: object, *, last: bool, what: str) -> list[Signature]:
    found = _each([value], what)
    if len(found) > 1 and not last:
        raise ProtocolError(f"{what}: a group with a task behind it is a chord; chords are not supported yet")
    return found


def _each(value: object, what: str) -> list[Signature]:
    if not value:
        return []
    given = [value] if isinstance(value, Mapping) else value
    found: list[Signature] = []
    try:
        read = msgspec.convert(given, list[Signature])
        for signature, raw in zip(read, given, strict=True):  # type: ignore[call-overload]  # it was converted
            found += _singles(_with_stamps(signature, raw), what)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ProtocolError(f"{what}: not a signature: {error}") from error
    if len(found) > _MOST:
        raise ProtocolError(f"{what}: more than {_MOST} signatures in one message")
    return found


def _with_stamps(signature: Signature, raw: Mapping[str, object]) -> Signature:
    names = signature.options.stamped_headers
    if not names:
        return signature
    options = raw["options"]
    assert isinstance(options, Mapping)
    stamps = {name: options[name] for name in names if name in options}
    return msgspec.structs.replace(signature, stamps=stamps)


def _singles(signature: Signature, what: str) -> list[Signature]:
    """Return the single tasks that a signature stands for."""
    match signature.subtask_type:
        case None | "":
            singles = [signature]
        case "group":
            singles = _each(signature.kwargs.get("tasks"), f"group in {what}")
        case "chain":
            tasks = _list(signature.kwargs.get("tasks"))
            if not tasks:
                return []
            first = _step(tasks[0], last=len(tasks) == 1, what=f"chain in {what}")
            rest = [each for each in reversed(tasks[1:]) if isinstance(each, dict)]
            singles = _with_chain(first, [*(signature.options.chain or ()), *rest])
        case kind:
            raise ProtocolError(f"{what}: {signature.task} is a {kind}, which is not supported yet")
    for single in singles:
        if single.options.chord:
            raise ProtocolError(f"{what}: {single.task} belongs to a chord; chords are not supported yet")
    return singles


def _with_chain(step: Sequence[Signature], chain: list[dict[str, object]]) -> list[Signature]:
    """Return the tasks of a step with what follows them; what they bring themselves comes first."""
    if not chain:
        return list(step)
    return [
        msgspec.structs.replace(
            each, options=msgspec.structs.replace(each.options, chain=[*chain, *(each.options.chain or ())])
        )
        for each in step
    ]
