"""The options of a task, in one place: what the decorator takes and what a single send may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from numbers import Integral, Real
from typing import Literal, Protocol, TypedDict

from taskd.base.rates import parse_rate
from taskd.config.problems import nearest
from taskd.config.programs import DEFAULT_QUEUE
from taskd.protocol.compression import NAMES as COMPRESSIONS
from taskd.protocol.execution import Acks
from taskd.protocol.lenient import LONGEST_S, MOST_RETRIES

_NOT_NEGATIVE = (
    "max_retries",
    "retry_backoff",
    "retry_backoff_max",
    "retry_delay",
    "soft_time_limit",
    "time_limit",
    "expires",
)

Exceptions = tuple[type[Exception], ...]


class DeclareOptions(TypedDict, total=False):
    """Keywords of ``@app.task(...)``, all optional; durations are seconds."""

    #: Default: ``module.function``.
    name: str
    queue: str
    #: 0 to 9; 9 is served first.
    priority: int
    #: "late" (default): a crash runs it again.  "early": at most once.
    acks: Literal["late", "early"]
    #: Keep neither results nor errors.
    ignore_result: bool
    #: None: no limit.
    max_retries: int | None
    #: Exceptions after which it is retried without being asked.
    retry_for: Exceptions
    dont_retry_for: Exceptions
    #: Automatic retries wait this long, doubled each time; True is 1 s, False takes retry_delay.
    retry_backoff: bool | float
    retry_backoff_max: float
    #: Draw the wait between 0 and that ceiling.
    retry_jitter: bool
    #: Wait of ``self.retry()`` without countdown, and of automatic retries without backoff.
    retry_delay: float
    soft_time_limit: float
    time_limit: float
    #: A message that waited longer does not run; 0 never.
    expires: float
    #: How many each worker may begin: "10/s", "10/m", "10/h", or a number of tasks a second; 0 any number.
    rate_limit: str | float
    #: False: monitors hear nothing of this task.
    send_events: bool
    #: Store the state STARTED, with pid and hostname, when it begins.
    track_started: bool
    #: "gzip", "bzip2", "lzma", or with the extra ``compression`` "brotli" and "zstd"; "" for none.
    compression: str


class Linkable(Protocol):
    """A call that can be sent by a worker: what ``task.s(...)`` and ``task.si(...)`` return."""

    def signature(self) -> dict[str, object]:
        """Return it as Celery writes it."""


#: One task to send after another; as a mapping it is a signature of Celery.
Link = Linkable | Mapping[str, object]


class SendOptions(TypedDict, total=False):
    """Keywords of ``apply_async``, ``send_task`` and ``Call.with_options``, all optional."""

    #: Run it after this many seconds.
    countdown: float | timedelta
    #: Run it then; needs a time zone.
    eta: datetime
    #: Drop it if it has not begun after this many seconds, or at this time.
    expires: float | timedelta | datetime
    queue: str
    priority: int
    task_id: str
    #: The sender's own headers; the task reads them as ``request.headers``.
    headers: Mapping[str, object]
    max_retries: int
    retry_delay: float
    ignore_result: bool
    soft_time_limit: float
    time_limit: float
    #: In the place of the task's own.
    compression: str
    #: Sent when it has succeeded, its result before their own arguments.
    link: Link | Sequence[Link] | None
    #: Sent when it has failed for good, its id before their own arguments.
    link_error: Link | Sequence[Link] | None


#: The types of the options of a send, besides None.
_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "countdown": ((Real, timedelta), "seconds or a timedelta"),
    "eta": ((datetime,), "a datetime with a time zone"),
    "expires": ((Real, timedelta, datetime), "seconds, a timedelta, or a datetime with a time zone"),
    "queue": ((str,), "text"),
    "priority": ((Integral,), "0 to 9"),
    "task_id": ((str,), "text"),
    "headers": ((Mapping,), "a dict"),
    "max_retries": ((Integral,), "a whole number"),
    "retry_delay": ((Real,), "seconds"),
    "ignore_result": ((int,), "True or False"),
    "soft_time_limit": ((Real,), "seconds"),
    "time_limit": ((Real,), "seconds"),
    "compression": ((str,), "the name of a compression"),
    "link": ((object,), "a call or a list of them"),
    "link_error": ((object,), "a call or a list of them"),
}


#: Limits beyond which a worker sees a mistake; it reads the same ones.
_MOST: Mapping[str, float] = {
    "max_retries": MOST_RETRIES,
    "retry_delay": LONGEST_S,
    "soft_time_limit": LONGEST_S,
    "time_limit": LONGEST_S,
}
#: Where True would be a second.
_TIMES = frozenset({"countdown", "expires", "retry_delay", "soft_time_limit", "time_limit"})

_DECLARED_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "name": ((str,), "text"),
    "queue": ((str,), "text"),
    "priority": ((Integral,), "0 to 9"),
    "ignore_result": ((int,), "True or False"),
    "max_retries": ((Integral,), "a whole number, or None for no limit"),
    "retry_backoff": ((Real,), "True, False, or seconds"),
    "retry_backoff_max": ((Real,), "seconds"),
    "retry_jitter": ((int,), "True or False"),
    "retry_delay": ((Real,), "seconds"),
    "soft_time_limit": ((Real,), "seconds; 0 for none"),
    "time_limit": ((Real,), "seconds; 0 for none"),
    "expires": ((Real,), "seconds; 0 for never"),
    "send_events": ((int,), "True or False"),
    "track_started": ((int,), "True or False"),
}


def check_options(name: str, options: Mapping[str, object]) -> None:
    """Raise ``TypeError`` for an option of a send that does not exist, or of a wrong type."""
    for option, value in options.items():
        if option not in _KINDS:
            hint = nearest(option, _KINDS)
            remedy = f', did you mean "{hint}"?' if hint else f"; there are {', '.join(_KINDS)}"
            raise TypeError(f'task "{name}" cannot be sent with {option}: no such option{remedy}')
        if value is not None:
            _check_kind(name, option, value, *_KINDS[option])
            most = _MOST.get(option)
            if most is not None and not 0 <= value <= most:  # type: ignore[operator]  # a number
                raise ValueError(f'task "{name}": {option} is {value}; expected 0 to {most:g}')


def _check_kind(name: str, option: str, value: object, kinds: tuple[type, ...], expected: str) -> None:
    if not isinstance(value, kinds) or (isinstance(value, bool) and option in _TIMES):
        raise TypeError(f'task "{name}": {option} is {value!r}; expected {expected}')
    if not isinstance(value, int) and isinstance(value, Real) and not isfinite(value):
        raise ValueError(f'task "{name}": {option} is {value!r}; expected {expected}')


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """The options of one task, checked.  0 in a limit or in ``expires`` means none."""

    name: str
    queue: str = DEFAULT_QUEUE
    priority: int = 0
    acks: Acks = Acks.LATE
    ignore_result: bool = False
    max_retries: int | None = 3
    retry_for: Exceptions = ()
    dont_retry_for: Exceptions = ()
    #: Seconds; 0 takes retry_delay.
    retry_backoff: float = 1.0
    retry_backoff_max: float = 600.0
    retry_jitter: bool = True
    retry_delay: float = 180.0
    soft_time_limit: float = 0.0
    time_limit: float = 0.0
    expires: float = 0.0
    #: Tasks a second; 0 for no limit.
    rate_limit: float = 0.0
    send_events: bool = True
    track_started: bool = False
    compression: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.  Raises: ``ValueError`` naming the task and the option."""
        check_priority(self.priority, self.name)
        if not self.name or not self.queue:
            raise ValueError(f'task "{self.name}": name and queue cannot be empty')
        if self.compression and self.compression not in COMPRESSIONS:
            given, known = self.compression, ", ".join(COMPRESSIONS)
            raise ValueError(f'task "{self.name}": compression is {given!r}; expected one of {known}')
        for option in _NOT_NEGATIVE:
            value = getattr(self, option)
            if value is not None and value < 0:
                raise ValueError(f'task "{self.name}": {option} is {value}; expected 0 or more')
            if value is not None and value > LONGEST_S:
                raise ValueError(f'task "{self.name}": {option} is {value}; expected {LONGEST_S:g} at most')


def settings_from(name: str, options: DeclareOptions) -> TaskSettings:
    """Return checked settings.

    Raises: ``ValueError`` for a value that cannot be meant, ``TypeError`` for an unknown option.
    """
    given = dict(options)
    given["name"] = name
    acks = given.get("acks", "late")
    if acks not in ("late", "early"):
        raise ValueError(f'task "{name}": acks is {acks!r}; expected "late" or "early"')
    given["acks"] = Acks(acks)
    given["rate_limit"] = _rate(name, options.get("rate_limit"))
    for option in ("retry_for", "dont_retry_for"):
        kinds = given.get(option, ())
        if not isinstance(kinds, (tuple, list)) or not all(
            isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds
        ):
            raise TypeError(f'task "{name}": {option} is {kinds!r}; expected a tuple of exception classes')
        given[option] = tuple(kinds)
    for option, value in given.items():
        if option not in TaskSettings.__dataclass_fields__:
            raise TypeError(f'task "{name}" has no option {option}{_remedy(option)}')
        if option in _DECLARED_KINDS and not (value is None and option == "max_retries"):
            _check_kind(name, option, value, *_DECLARED_KINDS[option])
    given["retry_backoff"] = float(options.get("retry_backoff", True))
    return TaskSettings(**given)  # type: ignore[arg-type]  # just checked


#: Options of Celery's decorator, and what says the same here.
_CELERYS: Mapping[str, str] = {
    "acks_late": 'acks="late" is the default, acks="early" the other',
    "reject_on_worker_lost": 'acks="late" does so',
    "acks_on_failure_or_timeout": 'acks="late" does so',
    "autoretry_for": "write retry_for",
    "dont_autoretry_for": "write dont_retry_for",
    "default_retry_delay": "write retry_delay",
    "store_errors_even_if_ignored": "ignore_result keeps no errors either",
    "serializer": "arguments travel as JSON",
    "base": "write app.hooks, or a decorator of the function",
}


def _remedy(option: str) -> str:
    """Return what to write in the place of an unknown option."""
    if option in _CELERYS:
        return f"; {_CELERYS[option]}"
    hint = nearest(option, TaskSettings.__dataclass_fields__)
    return (
        f', did you mean "{hint}"?' if hint else f"; there are {', '.join(TaskSettings.__dataclass_fields__)}"
    )


def _rate(name: str, rate: str | float | None) -> float:
    try:
        return parse_rate(rate)
    except ValueError as error:
        raise ValueError(f'task "{name}": rate_limit {error}') from None


def check_priority(priority: int, name: str) -> int:
    """Return the priority.  Raises: ``ValueError`` unless it is 0 to 9."""
    if not 0 <= priority <= 9:
        raise ValueError(f'task "{name}": priority is {priority}; expected 0 to 9')
    return priority
