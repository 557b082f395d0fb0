"""The options and arguments that ``self.retry`` gives to the next run.  Pure, but for the clock."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter

from taskd.base.nearest import nearest
from taskd.protocol.message import RESERVED_HEADERS
from taskd.sending.checks import check_options
from taskd.sending.due import expires_at
from taskd.sending.options import SEND
from taskd.sending.request import Request

_CHANGEABLE = tuple(name for name, option in SEND.items() if option.for_retry)
#: Options of Celery's ``retry`` that have no meaning here: how the message travels is the broker's business.
_WITHOUT_MEANING = frozenset(
    {"exchange", "serializer", "retry", "retry_policy", "delivery_mode", "connection", "producer"}
)


@dataclass(frozen=True, slots=True)
class RetryChanges:
    """How the message of the next run differs; empty values leave it as it is."""

    queue: str = ""
    priority: int | None = None
    headers: Mapping[str, object] | None = None


def changes_of(name: str, request: Request, options: Mapping[str, object]) -> RetryChanges:
    """Return what the options of a retry change.  Raises: ``TypeError``, ``ValueError``."""
    given = {
        key: value for key, value in options.items() if key not in _WITHOUT_MEANING and value is not None
    }
    if "routing_key" in given:
        given.setdefault("queue", given.pop("routing_key"))
    for key in given:
        if key not in _CHANGEABLE:
            hint = nearest(key, _CHANGEABLE)
            remedy = f', did you mean "{hint}"?' if hint else f"; there are {', '.join(_CHANGEABLE)}"
            raise TypeError(f'task "{name}" cannot be retried with {key}: no such option{remedy}')
    check_options(name, given)
    own = given.get("headers") or {}
    headers = {key: value for key, value in own.items() if key not in RESERVED_HEADERS}  # type: ignore[attr-defined]
    if "expires" in given:
        headers["expires"] = expires_at(given["expires"], name)  # type: ignore[arg-type]
    if "ignore_result" in given:
        headers["ignore_result"] = given["ignore_result"]
    if "time_limit" in given or "soft_time_limit" in given:
        hard, soft = request.timelimit
        headers["timelimit"] = (given.get("time_limit", hard), given.get("soft_time_limit", soft))
    priority = given.get("priority")
    return RetryChanges(
        str(given.get("queue", "")),
        priority,  # type: ignore[arg-type]  # checked
        headers,
    )


def arguments_again(
    run: Callable[..., object],
    request: Request,
    args: Sequence[object] | None,
    kwargs: Mapping[str, object] | None,
) -> tuple[Sequence[object], Mapping[str, object]]:
    """Return the arguments of the next run: those given, and of the present ones those that do not meet them.

    A parameter that was named may be given by its place now, and the other way round.
    """
    if args is not None and kwargs is not None:
        return args, kwargs
    if args is None and kwargs is None:
        return request.args, request.kwargs
    try:
        signature = inspect.signature(run, follow_wrapped=False)
    except (TypeError, ValueError):
        return request.args if args is None else args, request.kwargs if kwargs is None else kwargs
    if args is not None:
        by_place = [
            each
            for each in signature.parameters.values()
            if each.kind in {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}
        ][: len(args)]
        taken = {each.name for each in by_place if each.kind is Parameter.POSITIONAL_OR_KEYWORD}
        return args, {name: value for name, value in request.kwargs.items() if name not in taken}
    assert kwargs is not None
    try:
        bound = signature.bind_partial(*request.args)
    except TypeError:
        return request.args, kwargs  # the run will say what is wrong with them
    left = dict(kwargs)
    for name in kwargs:
        parameter = signature.parameters.get(name)
        by_either = parameter is not None and parameter.kind is Parameter.POSITIONAL_OR_KEYWORD
        if by_either and name in bound.arguments:
            bound.arguments[name] = left.pop(name)
    return bound.args, {**bound.kwargs, **left}
