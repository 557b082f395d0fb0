"""Chords of Celery: a header of tasks, and a body that gets their results when all have ended.

Each task that counts for a chord carries the signature of the body in its message and is in the chord's
group.  Who ends such a task tells the result store, which counts; who brings the last part sends the body.
A chord that is a step of a chain is begun by the worker that ran the step before: this module says what is
to be sent, and how many parts there are.  Signatures are plain JSON objects here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from taskd import ids
from taskd.errors import ProtocolError
from taskd.protocol import serializers

Plain = dict[str, object]

#: Levels of groups, chains and chords within one another; more are a mistake.
_DEEPEST = 50


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


def upgraded(steps: Sequence[object]) -> list[object]:
    """Return the steps of a chain; a group with a step behind it becomes the chord that it is by nature."""
    found = list(steps)
    at = 0
    while at + 1 < len(found):
        step = found[at]
        if isinstance(step, Mapping) and step.get("subtask_type") == "group" and len(_members(step)) > 1:
            found[at : at + 2] = [_chord(step, found[at + 1])]
        at += 1
    return found


def begin(
    kwargs: Mapping[str, object], options: Mapping[str, object], *, immutable: bool, what: str
) -> tuple[Begun, list[Plain]]:
    """Return the parts of a chord to be sent, with its size; the arguments are those of its signature.

    ``options``: ``chain``, ``link``, ``link_error``, and the outer chord with the place in it.
    Raises: ``ProtocolError`` naming ``what`` for a chord without a header or body.
    """
    given, body = kwargs.get("header"), kwargs.get("body")
    if isinstance(given, Mapping):
        header, group = _members(given), _options(given).get("task_id")
    else:
        header, group = list(given) if isinstance(given, (list, tuple)) else [], None
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


def _chord(header: Mapping[str, object], body: object) -> Plain:
    kwargs = {"header": header, "body": body, "kwargs": {}}
    return {"task": "celery.chord", "args": [], "kwargs": kwargs, "options": {}, "subtask_type": "chord"}


def _body(body: Mapping[str, object], options: Mapping[str, object], what: str) -> Plain:
    """Return the body with what the whole chord is said to be: what follows it, and where it belongs."""
    own = dict(_options(body))
    for name in ("link", "link_error"):
        own[name] = [*_list(own.get(name)), *_list(options.get(name))]
    own["chain"] = [*_list(options.get("chain")), *_list(own.get("chain"))]
    if not body.get("subtask_type"):
        own = _named(own)
    named = {**body, "options": {name: value for name, value in own.items() if value not in (None, [])}}
    outer, group, index = options.get("chord"), options.get("group_id"), options.get("group_index")
    if isinstance(outer, Mapping) and isinstance(group, str):
        named = _enrolled(named, outer, group, index if isinstance(index, int) else 0, what)[0]
    return named


def _enrolled(  # noqa: PLR0917 - it calls itself with all of them
    task: object, body: Mapping[str, object], group: str, index: int, what: str, depth: int = 0
) -> tuple[Plain, int]:
    """Return a signature that counts for a chord when it has ended, and for how many parts."""
    if not isinstance(task, Mapping) or depth > _DEEPEST:
        raise ProtocolError(f"{what}: a part of a chord is no signature")
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
            if not _members(task):
                raise ProtocolError(f"{what}: a group in a chord is empty")
            kwargs["tasks"] = [enrol(each) for each in _members(task)]
        case "chain":
            steps = upgraded(_members(task))
            if not steps:
                raise ProtocolError(f"{what}: a chain in a chord is empty")
            kwargs["tasks"] = [*steps[:-1], enrol(steps[-1])]
        case "chord":
            kwargs["body"] = enrol(kwargs.get("body"))
        case _:
            place = {"chord": body, "group_id": group, "group_index": index}
            return {**task, "options": {**_named(_options(task)), **place}}, 1
    return {**task, "kwargs": kwargs}, parts


def _named(options: Mapping[str, object]) -> Plain:
    """Return options with a task id: somebody is to wait for this task."""
    return {**options, "task_id": options.get("task_id") or ids.new_task_id()}


def _flat(tasks: Sequence[object], what: str, depth: int = 0) -> list[object]:
    """Return the tasks of a header, those of groups in the groups' places."""
    if depth > _DEEPEST:
        raise ProtocolError(f"{what}: groups are nested too deeply")
    found: list[object] = []
    for each in tasks:
        if isinstance(each, Mapping) and each.get("subtask_type") == "group":
            found += _flat(_members(each), what, depth + 1)
        else:
            found.append(each)
    return found


def _members(signature: Mapping[str, object]) -> list[object]:
    kwargs = signature.get("kwargs")
    return _list(kwargs.get("tasks")) if isinstance(kwargs, Mapping) else []


def _options(signature: Mapping[str, object]) -> Mapping[str, object]:
    options = signature.get("options")
    return options if isinstance(options, Mapping) else {}


def _list(value: object) -> list[object]:
    if isinstance(value, (list, tuple)):
        return list(value)
    return [value] if isinstance(value, Mapping) else []
