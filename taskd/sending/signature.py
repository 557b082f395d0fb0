"""Celery's signatures: a task that is to be sent when another one has ended, as a JSON object.

They travel in the third part of a task's body (``embed``): ``callbacks`` for after a success, and
``errbacks`` for after a failure.  ``chain`` has the steps that follow, the next one at its end.  The worker
that has run a task of a chain sends the next step with the rest of the chain.  A signature may stand for
several tasks: a ``group`` becomes its members, a ``chain`` its first task with the others behind it.  A
``chord`` becomes the tasks of its header, of which the first says that it begins (``taskd.protocol.chord``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from taskd.base.errors import ProtocolError
from taskd.protocol import lenient
from taskd.protocol.chord import Begun, ChordPart, begin, part_of
from taskd.protocol.steps import handed, listed, options_of, sent, upgraded
from taskd.sending.options import SEND

#: Signatures in one message; more are a mistake, or somebody's attempt to keep a worker busy.
_MOST = 10_000
#: Options of a chord that are meant for its body.
_OF_THE_BODY = ("task_id", "chain", "link", "link_error", "chord", "group_id", "group_index")
#: The header of a chord waits, its body does not.
_AT_ONCE: Mapping[str, object] = {"countdown": None, "eta": None}


class _OfASignature(msgspec.Struct, frozen=True):
    """The options that a signature alone has, and the links of its task."""

    exchange: str | None = None
    routing_key: str | None = None
    link: list[dict[str, object]] | dict[str, object] | None = None
    link_error: list[dict[str, object]] | dict[str, object] | None = None
    #: The steps that follow this task, the next step last.
    chain: list[dict[str, object]] | None = None
    chord: object = None
    shadow: str | None = None
    reply_to: str | None = None
    group_id: str | None = None
    group_index: int | None = None
    stamped_headers: list[str] | None = None


#: The options of a send that a signature carries.
CARRIED = tuple(name for name, option in SEND.items() if option.signed is not None)

if TYPE_CHECKING:
    SignatureOptions = _OfASignature
else:
    #: The options of a signature about its sending; options that are not here are left alone.
    SignatureOptions = msgspec.defstruct(
        "SignatureOptions",
        [
            (name, SEND[name].signed | None, None)
            for name in CARRIED
            if name not in _OfASignature.__struct_fields__
        ],
        bases=(_OfASignature,),
        frozen=True,
    )


def carried(options: SignatureOptions) -> dict[str, Any]:
    """Return the options of a send that a signature carries."""
    return {name: value for name in CARRIED if (value := getattr(options, name)) is not None}


_READERS: Mapping[str, Callable[[object], object]] = {
    **{name: option.understood for name, option in SEND.items() if option.understood is not None},
    "group_id": lenient.optional_text,
    "group_index": lenient.place,
}


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
    #: The chords that must be known before this task, the first of their header, is sent.  Never on the wire.
    begins: list[Begun] = []


class Embed(msgspec.Struct, frozen=True):
    """The signatures that a message carries beside its task, checked."""

    callbacks: Sequence[Signature]
    errbacks: Sequence[Signature]
    #: The tasks of the next step of its chain, ready to be sent: several when that is a group.
    step: Sequence[Signature]


def read_signatures(value: object, what: str) -> Sequence[Signature]:
    """Return the single tasks that a list of signatures, or one signature, stands for.

    Signatures that are linked to them are checked too.
    Raises: ``ProtocolError`` naming ``what`` for a value that is not a signature, and for a chord.
    """
    found = _each(value, what)
    _check_linked(found, what)
    return found


def _check_linked(signatures: Sequence[Signature], what: str) -> None:
    waiting = list(signatures)
    seen = len(signatures)
    while waiting:
        options = waiting.pop().options
        linked = _each(options.link, f"link of {what}") + _each(options.link_error, f"link_error of {what}")
        for step in upgraded((options.chain or [])[::-1]):
            linked += _each([step], f"chain of {what}")
        waiting += linked
        seen += len(linked)
        if seen > _MOST:
            raise ProtocolError(f"{what}: more than {_MOST} signatures in one message")


def read_embed(embed: Mapping[str, object], *, chords: bool = True) -> Embed:
    """Return the checked signatures of a message.

    ``chords``: whether somebody can count the parts of a chord.
    Raises: ``ProtocolError`` for a chord that nobody would count, and as ``read_signatures``.
    """
    body = embed.get("chord")
    if body and not chords:
        raise ProtocolError(
            "the message belongs to a chord, or to a group with a task behind it, but the result store does "
            "not count its parts; the chord's body would wait forever; expected results on redis://"
        )
    if body and not isinstance(body, Mapping):
        raise ProtocolError(f"chord is of type {type(body).__name__}; expected a signature")
    chain = embed.get("chain") or []
    if not isinstance(chain, (list, tuple)):
        raise ProtocolError(f"chain is of type {type(chain).__name__}; expected a list of signatures")
    steps = upgraded(chain[::-1])
    singles = [single for step in steps for single in read_signatures([step], "chain")]
    found = Embed(
        callbacks=read_signatures(embed.get("callbacks"), "callbacks"),
        errbacks=read_signatures(embed.get("errbacks"), "errbacks"),
        step=_each([_with_chain(steps[0], _backwards(steps[1:]))], "chain") if steps else (),
    )
    following = [*found.callbacks, *found.errbacks, *singles]
    if not chords and any(each.begins for each in following):
        raise ProtocolError(
            "a chord follows the task, but the result store does not count its parts; expected results on redis://"
        )
    return found


class Promised(msgspec.Struct, frozen=True):
    """Followers of a task that never will run: ids that somebody may wait for, and parts of chords."""

    ids: Sequence[str]
    parts: Sequence[ChordPart]


def promised(chain: object) -> Promised:
    """Return what a chain, or any other signature, promises.

    The tasks of a chord's header have ids; its body also ends for the chord around it.
    Raises: ``SerializationError`` for a chord that JSON cannot represent.
    """
    waiting = [(each, True) for each in listed(chain)]
    found: list[str] = []
    parts: list[ChordPart] = []
    while waiting and len(found) < _MOST:
        each, counts = waiting.pop()
        if not isinstance(each, Mapping) or not isinstance(options := each.get("options"), Mapping):
            continue
        task_id = options.get("task_id")
        kwargs = each.get("kwargs")
        kind = each.get("subtask_type")
        if isinstance(task_id, str) and task_id and kind not in ("group", "chord"):
            found.append(task_id)
            place = (options.get("group_id"), options.get("group_index"))
            if counts and not kind and (part := part_of(task_id, *place, options.get("chord"))):
                parts.append(part)
        if isinstance(kwargs, Mapping) and kind:
            waiting += [(task, counts) for task in listed(kwargs.get("tasks"))]
            waiting += [(task, False) for task in listed(kwargs.get("header"))]
            waiting += [(body, counts) for body in listed(kwargs.get("body"))]
        waiting += [(step, counts) for step in listed(options.get("chain"))]
    return Promised(found, parts)


def _each(value: object, what: str) -> list[Signature]:
    if not value:
        return []
    given = [value] if isinstance(value, Mapping) else value
    found: list[Signature] = []
    if isinstance(given, (list, tuple)):
        given = [_as_meant(each) for each in given]
    try:
        read = msgspec.convert(given, list[Signature])
        for signature, raw in zip(read, given, strict=True):  # type: ignore[call-overload]  # it was converted
            found += _singles(_with_stamps(signature, raw), what)
    except (msgspec.ValidationError, RecursionError, UnicodeEncodeError) as error:
        raise ProtocolError(f"{what}: not a signature: {error}") from error
    if len(found) > _MOST:
        raise ProtocolError(f"{what}: more than {_MOST} signatures in one message")
    return found


def _as_meant(raw: object) -> object:
    """Return a signature with its fields as Celery writes them, if another producer wrote its own way."""
    if not isinstance(raw, Mapping):
        return raw
    meant: dict[str, object] = {
        **raw,
        "immutable": bool(raw.get("immutable")),
        "args": raw.get("args") or [],  # null, or an empty table
        "kwargs": raw.get("kwargs") or {},
        "options": raw.get("options") or {},
    }
    given = meant["options"]
    if isinstance(given, Mapping):
        options = dict(given)
        for name, reader in _READERS.items():
            if options.get(name) is not None:
                with suppress(ValueError, OverflowError):  # an impossible value is refused with its name
                    options[name] = reader(options[name])
        meant["options"] = options
    return meant


def _with_stamps(signature: Signature, raw: Mapping[str, object]) -> Signature:
    if signature.begins:
        signature = msgspec.structs.replace(signature, begins=[])
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
            said = msgspec.structs.asdict(signature.options)
            members = [_of_group(each, said) for each in listed(signature.kwargs.get("tasks"))]
            singles = _each(members, f"group in {what}")
        case "chain":
            said = msgspec.structs.asdict(signature.options)
            steps = handed(upgraded(listed(signature.kwargs.get("tasks"))), said)
            if not steps:
                return []
            first, *more = steps
            if signature.immutable and isinstance(first, Mapping):
                first = {**first, "immutable": True}
            rest = [*(signature.options.chain or ()), *_backwards(more)]
            singles = _each([_with_chain(first, rest)], f"chain in {what}")
        case "chord":
            _each(signature.kwargs.get("body"), f"body of a chord in {what}")
            said = msgspec.structs.asdict(signature.options)
            kwargs = {**signature.kwargs, "body": sent(signature.kwargs.get("body"), {**said, **_AT_ONCE})}
            options = {name: said[name] for name in _OF_THE_BODY}
            begun, header = begin(kwargs, options, immutable=signature.immutable, what=what)
            singles = _each([sent(each, said) for each in header], f"chord in {what}")
            singles[0] = msgspec.structs.replace(singles[0], begins=[*singles[0].begins, begun])
        case kind:
            raise ProtocolError(f"{what}: {signature.task} is a {kind}, which taskd does not support yet")
    return singles


def _of_group(task: object, said: Mapping[str, object]) -> object:
    """Return a task of a group with what is said of the group; errbacks of the group replace its own."""
    task = _with_chain(sent(task, said), said.get("chain"))
    errbacks = listed(said.get("link_error"))
    if errbacks and isinstance(task, Mapping):
        return {**task, "options": {**options_of(task), "link_error": errbacks}}
    return task


def _with_chain(step: object, chain: object) -> object:
    """Return a signature with its followers; its own come first."""
    if not chain or not isinstance(step, Mapping):
        return step
    options = options_of(step)
    return {**step, "options": {**options, "chain": [*listed(chain), *listed(options.get("chain"))]}}


def _backwards(steps: Sequence[object]) -> list[dict[str, object]]:
    """Return the steps that follow as a message carries them: the next one last."""
    return [step for step in reversed(steps) if isinstance(step, dict)]
