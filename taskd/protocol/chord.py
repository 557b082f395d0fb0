"""Chords of Celery: a header of tasks, and a body that gets their results when all have ended.

Each task that counts for a chord carries the signature of the body in its message and is in the chord's
group.  The worker that ends such a task tells the result store, which counts; the last part sends the body.
A chord that is a step of a chain is begun by the worker that ran the step before.  This module says which
messages are to be sent, and how many parts there are.  Signatures are plain JSON objects here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from taskd.base import ids
from taskd.base.errors import ProtocolError
from taskd.protocol import serializers
from taskd.protocol.steps import (
    DEEPEST,
    Plain,
    listed,
    members,
    options_of,
    upgraded,
    with_callbacks,
    with_errbacks,
)


class ChordPart(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One task that counts for a chord; ``body`` is the signature of the chord's body as JSON."""

    group: str
    index: int | None
    task_id: str
    body: bytes


class Begun(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A chord whose header is about to be sent: its group, and how many parts end it."""

    group: str
    size: int


def part_of(task_id: str, group: object, index: object, body: object) -> ChordPart | None:
    """Return the part that a task is of a chord; None for none, or for what nobody could count.

    Raises: ``SerializationError`` when JSON cannot represent the body.
    """
    if not (isinstance(body, Mapping) and body and isinstance(group, str) and group and task_id):
        return None
    at = index if isinstance(index, int) else None
    return ChordPart(group, at, task_id, serializers.dumps(body))


def begin(
    kwargs: Mapping[str, object], options: Mapping[str, object], *, immutable: bool, what: str
) -> tuple[Begun, list[Plain]]:
    """Return the parts of a chord to be sent, with its size; the arguments are those of its signature.

    ``options``: ``chain``, ``link``, ``link_error``, and the outer chord with the place in it.
    Raises: ``ProtocolError`` naming ``what`` for a chord without a header or body.
    """
    given = kwargs.get("header")
    body = kwargs.get("body")
    if isinstance(given, Mapping):
        header = members(given)
        group = options_of(given).get("task_id")
    else:
        header = list(given) if isinstance(given, (list, tuple)) else []
        group = None
    if not header or not isinstance(body, Mapping) or not body.get("task"):
        raise ProtocolError(f"{what}: a chord has a header with tasks, and a body")
    group = str(group or options.get("task_id") or ids.new_task_id())
    body = _body(body, options, what)
    tasks: list[Plain] = []
    size = 0
    flat = _flat(header, what)
    if not flat:
        raise ProtocolError(f"{what}: the header of a chord holds nothing but empty groups")
    for at, each in enumerate(flat):
        task, parts = _enrolled(each, body, group, at, what)
        tasks.append({**task, "immutable": True} if immutable else task)
        size += parts
    return Begun(group, size), tasks


def placed(
    task: Mapping[str, object], task_id: str, chord: object, group: str | None, index: int | None
) -> Plain:
    """Return a task, or a chord, whose end is that of the task with this id, and counts where that did."""
    kwargs = task.get("kwargs")
    if task.get("subtask_type") == "chord" and isinstance(kwargs, Mapping):
        if isinstance(body := kwargs.get("body"), Mapping):
            return {**task, "kwargs": {**kwargs, "body": placed(body, task_id, chord, group, index)}}
    elif task.get("subtask_type") == "chain" and isinstance(kwargs, Mapping):
        *steps, last = upgraded(members(task)) or [None]
        if isinstance(last, Mapping):
            tasks = [*steps, placed(last, task_id, chord, group, index)]
            return {**task, "kwargs": {**kwargs, "tasks": tasks}}
    options = {**options_of(task), "task_id": task_id, "group_id": group, "group_index": index}
    if isinstance(chord, Mapping) and chord:
        options["chord"] = chord
    return {**task, "options": {name: value for name, value in options.items() if value is not None}}


def added(signature: Mapping[str, object], chord: Mapping[str, object], group: str) -> tuple[Plain, int]:
    """Return a signature that counts for a chord which has begun, and for how many parts.

    Raises: ``ProtocolError`` when it is not a signature.
    """
    return _enrolled(signature, chord, group, None, "the addition to a chord")


def _body(body: Mapping[str, object], options: Mapping[str, object], what: str) -> Plain:
    """Return the body with what the whole chord is said to be: what follows it, and where it belongs."""
    linked = with_callbacks(body, listed(options.get("link")))
    linked = _with_own_errbacks(linked, listed(options.get("link_error")))
    assert isinstance(linked, Mapping)
    body = linked
    own = dict(options_of(body))
    own["chain"] = [*listed(options.get("chain")), *listed(own.get("chain"))]
    if not body.get("subtask_type"):
        own = _named(own)
    named = {**body, "options": {name: value for name, value in own.items() if value not in (None, [])}}
    outer = options.get("chord")
    group = options.get("group_id")
    index = options.get("group_index")
    if isinstance(outer, Mapping) and isinstance(group, str):
        named = _enrolled(named, outer, group, index if isinstance(index, int) else 0, what)[0]
    return named


def _with_own_errbacks(body: object, errbacks: Sequence[object]) -> object:
    """Return the body of a chord with the errbacks of the chord.

    A group of which errbacks are said has them instead of its tasks, also when it runs.
    """
    if isinstance(body, Mapping) and body.get("subtask_type") == "group":
        own = listed(options_of(body).get("link_error"))
        if own:
            new = [each for each in errbacks if each not in own]
            return {**body, "options": {**options_of(body), "link_error": [*own, *new]}}
    return with_errbacks(body, errbacks)


def _enrolled(  # noqa: PLR0917 - it calls itself with all of them
    task: object, body: Mapping[str, object], group: str, index: int | None, what: str, depth: int = 0
) -> tuple[Plain, int]:
    """Return a signature that counts for a chord when it has ended, and for how many parts."""
    if not isinstance(task, Mapping) or depth > DEEPEST:
        raise ProtocolError(f"{what}: a part of a chord is not a signature")
    given = task.get("kwargs") or {}
    if not isinstance(given, Mapping):
        raise ProtocolError(
            f"{what}: kwargs of a part of a chord is {type(given).__name__}; expected an object"
        )
    kwargs: Plain = dict(given)
    parts = 0

    def enrol(inner: object) -> Plain:
        nonlocal parts
        found, count = _enrolled(inner, body, group, index, what, depth + 1)
        parts += count
        return found

    match task.get("subtask_type"):
        case "group":
            if not members(task):
                raise ProtocolError(f"{what}: a group in a chord is empty")
            kwargs["tasks"] = [enrol(each) for each in members(task)]
        case "chain":
            steps = upgraded(members(task))
            if not steps:
                raise ProtocolError(f"{what}: a chain in a chord is empty")
            kwargs["tasks"] = [*steps[:-1], enrol(steps[-1])]
        case "chord":
            kwargs["body"] = enrol(kwargs.get("body"))
        case _:
            place = {"chord": body, "group_id": group, "group_index": index}
            return {**task, "options": {**_named(options_of(task)), **place}}, 1
    return {**task, "kwargs": kwargs}, parts


def _named(options: Mapping[str, object]) -> Plain:
    """Return options with a task id: somebody is to wait for this task."""
    return {**options, "task_id": options.get("task_id") or ids.new_task_id()}


def _flat(tasks: Sequence[object], what: str, depth: int = 0) -> list[object]:
    """Return the tasks of a header, those of groups in the groups' places."""
    if depth > DEEPEST:
        raise ProtocolError(f"{what}: groups are nested too deeply")
    found: list[object] = []
    for each in tasks:
        if isinstance(each, Mapping) and each.get("subtask_type") == "group":
            found += _flat(members(each), what, depth + 1)
        else:
            found.append(each)
    return found
