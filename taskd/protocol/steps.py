"""The steps of Celery's chains, and what chains, groups and chords hand to their tasks.

Signatures are plain JSON objects here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taskd.base.errors import ProtocolError

Plain = dict[str, object]

#: Steps of one chain; more are a mistake, or somebody's attempt to keep a worker busy.
_MOST = 10_000
#: Levels of groups, chains and chords within one another; more are a mistake.
DEEPEST = 50
#: Options of a group, or of a chain and its first task, that are meant for the sending of tasks.
_OF_SENDING = (
    "queue", "exchange", "routing_key", "priority", "countdown", "eta", "expires", "headers", "max_retries",
    "retry_delay", "ignore_result", "soft_time_limit", "time_limit", "shadow", "reply_to",
)  # fmt: skip


def upgraded(steps: Sequence[object]) -> list[object]:
    """Return the steps of a chain as they are sent, one after the other.

    A chain in it gives its steps, and loses what was linked to it, as in Celery.  A group with a step behind
    it becomes the chord that it is by nature; so the last is looked at first.  A chord ends with the first
    step of a body that is a chain.
    Raises: ``ProtocolError`` for more steps than anybody means.
    """
    waiting = list(steps)
    found: list[object] = []
    while waiting:
        step = waiting.pop()
        if len(waiting) + len(found) > _MOST:
            raise ProtocolError(f"a chain has more than {_MOST} steps")
        if not isinstance(step, Mapping):
            found.append(step)
        elif _is(step, "chain"):
            waiting += [*members(step), *listed(options_of(step).get("chain"))[::-1]]
        elif _is(step, "group") and len(tasks := members(step)) < 2:
            # An empty one is not a step, unless there is no other.
            waiting += tasks
            if not (tasks or waiting or found):
                found.append(step)
        elif _is(step, "group") and found:
            found[-1] = _chord(step, found[-1])
        elif _is(step, "chord") and (split := _split(step)):
            waiting += split
        else:
            found.append(step)
    return found[::-1]


def _split(chord: Mapping[str, object]) -> list[object]:
    """Return a chord with the first step of its body, and the other steps; nothing for what stays whole.

    A group at the beginning of the body is a chord with what is behind it.
    """
    kwargs = _mapping(chord.get("kwargs"))
    body = kwargs.get("body")
    if not isinstance(body, Mapping) or not _is(body, "chain"):
        return []
    tasks = members(body)
    if not tasks or _is(tasks[0], "group"):
        return []
    first, *more = handed(tasks, options_of(body))
    behind = listed(options_of(body).get("chain"))[::-1]
    return [{**chord, "kwargs": {**kwargs, "body": first}}, *more, *behind]


def handed(steps: Sequence[object], options: Mapping[str, object]) -> list[object]:
    """Return the steps of a chain with what is said of the whole chain.

    Its errbacks belong to each step, its callbacks to the last, how it is sent to the first.
    """
    found = [with_errbacks(step, listed(options.get("link_error"))) for step in steps]
    if found:
        found[0] = sent(found[0], options)
        found[-1] = with_callbacks(found[-1], listed(options.get("link")))
    return found


def sent(task: object, options: Mapping[str, object]) -> object:
    """Return a signature that is sent as ``options`` say; other options stay."""
    said = {name: options[name] for name in _OF_SENDING if options.get(name) is not None}
    if not said or not isinstance(task, Mapping):
        return task
    return {**task, "options": {**options_of(task), **said}}


def with_errbacks(task: object, errbacks: Sequence[object], depth: int = 0) -> object:
    """Return a signature with errbacks: of a group its tasks have them, of a chord its body.

    Raises: ``ProtocolError`` for what is nested too deeply.
    """
    if not errbacks or not isinstance(task, Mapping):
        return task
    if depth > DEEPEST:
        raise ProtocolError("groups, chains and chords are nested too deeply")
    kwargs = _mapping(task.get("kwargs"))
    if _is(task, "group"):
        tasks = [with_errbacks(each, errbacks, depth + 1) for each in members(task)]
        return {**task, "kwargs": {**kwargs, "tasks": tasks}}
    if _is(task, "chord"):
        body = with_errbacks(kwargs.get("body"), errbacks, depth + 1)
        header = kwargs.get("header")
        tasks = members(header) if isinstance(header, Mapping) else listed(header)
        # Chords in the header end before this one, and their bodies have no other errbacks.
        tasks = [with_errbacks(each, errbacks, depth + 1) if _is(each, "chord") else each for each in tasks]
        inside = {**header, "kwargs": {"tasks": tasks}} if isinstance(header, Mapping) else tasks
        return {**task, "kwargs": {**kwargs, "header": inside, "body": body}}
    return _with(task, "link_error", errbacks)


def with_callbacks(task: object, callbacks: Sequence[object], depth: int = 0) -> object:
    """Return a signature with callbacks: of a chord its body has them, of a group the first of its tasks.

    The latter cannot give the result of the group, so its callbacks get none.
    Raises: ``ProtocolError`` for what is nested too deeply.
    """
    if not callbacks or not isinstance(task, Mapping):
        return task
    if depth > DEEPEST:
        raise ProtocolError("groups, chains and chords are nested too deeply")
    kwargs = _mapping(task.get("kwargs"))
    if _is(task, "chord"):
        body = with_callbacks(kwargs.get("body"), callbacks, depth + 1)
        return {**task, "kwargs": {**kwargs, "body": body}}
    if _is(task, "group") and (tasks := members(task)):
        alone = [{**each, "immutable": True} for each in callbacks if isinstance(each, Mapping)]
        tasks[0] = with_callbacks(tasks[0], alone, depth + 1)
        return {**task, "kwargs": {**kwargs, "tasks": tasks}}
    return _with(task, "link", callbacks)


def members(signature: Mapping[str, object]) -> list[object]:
    """Return the tasks of a group or a chain."""
    return listed(_mapping(signature.get("kwargs")).get("tasks"))


def options_of(signature: Mapping[str, object]) -> Mapping[str, object]:
    """Return the options of a signature."""
    return _mapping(signature.get("options"))


def listed(value: object) -> list[object]:
    """Return a list of signatures, which may be given as one alone."""
    if isinstance(value, (list, tuple)):
        return list(value)
    return [value] if isinstance(value, Mapping) else []


def _with(task: Mapping[str, object], name: str, more: Sequence[object]) -> Plain:
    """Return a signature with more in one of its lists; items that are there already are not added."""
    own = listed(options_of(task).get(name))
    new = [each for each in more if each not in own]
    return {**task, "options": {**options_of(task), name: [*own, *new]}}


def _chord(header: object, body: object) -> Plain:
    kwargs = {"header": header, "body": body, "kwargs": {}}
    return {"task": "celery.chord", "args": [], "kwargs": kwargs, "options": {}, "subtask_type": "chord"}


def _is(task: object, kind: str) -> bool:
    return isinstance(task, Mapping) and task.get("subtask_type") == kind


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
