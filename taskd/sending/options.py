"""Every option of a task and of a send, each declared once.

A row says how a value is checked, its default, its header on the wire, whether a signature may carry it, and
its line of documentation.  The checks (``settings``), the message (``send``), signatures, the table for the
worker and the tables of docs/tasks.md (``reference``) read these rows and know no option by themselves.  The
typed dicts are for type checkers and editors; a test holds them to the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime, timedelta
from numbers import Integral, Real
from typing import Any, Literal, Protocol, TypedDict

from taskd.config.programs import DEFAULT_QUEUE
from taskd.protocol import lenient
from taskd.protocol.lenient import LONGEST_S, MOST_RETRIES
from taskd.sending.forms import (
    ACKS,
    COMPRESSION,
    COUNT,
    EXCEPTIONS,
    FLAG,
    LIMIT,
    LINKS,
    PRIORITY,
    RATE,
    SECONDS,
    TEXT,
    Acks,
    Exceptions,
    OptionForm,
)


class Linkable(Protocol):
    """A call that can be sent by a worker: what ``task.s(...)`` and ``task.si(...)`` return."""

    def signature(self) -> dict[str, object]:
        """Return it as Celery writes it."""


#: One task to send after another; as a mapping it is a signature of Celery.
Link = Linkable | Mapping[str, object]


# -- the options of a task -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TaskOption:
    """One option of a task, beside the type and the default of its field."""

    form: OptionForm
    meaning: str


def _option(form: OptionForm, meaning: str, default: Any = MISSING) -> Any:
    metadata = {"option": TaskOption(form, meaning)}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """The options of a task that its worker must know; the template sends them for each registered task."""

    name: str = _option(TEXT, "The name by which messages call it.")
    queue: str = _option(TEXT, "The queue that its messages go to.", DEFAULT_QUEUE)
    acks: Acks = _option(
        ACKS,
        '`"late"`: a crash runs it again. `"early"`: it runs at most once.',
        Acks.LATE,
    )
    ignore_result: bool = _option(FLAG, "Neither its results nor its errors are kept.", False)
    soft_time_limit: float = _option(
        LIMIT, "`SoftTimeLimitExceeded` is raised in it after this time; 0: the worker's limit counts.", 0.0
    )
    time_limit: float = _option(LIMIT, "It is ended after this time; 0: the worker's limit counts.", 0.0)
    rate_limit: float = _option(
        RATE,
        'Each worker begins this many runs: `"10/s"`, `"10/m"`, `"10/h"`, or a number a second; 0: any.',
        0.0,
    )
    send_events: bool = _option(FLAG, "Monitors hear of its runs.", True)
    keep_failures: bool = _option(FLAG, "Its message is kept when it has failed for good.", True)
    # Celery's words for messages that are acknowledged late; no option of a task of our own.
    #: It runs again when its process has died: Celery's ``reject_on_worker_lost``.
    again_when_lost: bool = True
    #: It runs again when its hard limit has ended it: the contrary of Celery's ``acks_on_timeout``.
    again_when_timed_out: bool = False
    #: Its message is a dead letter when it has failed: the contrary of Celery's ``acks_on_failure``.
    dead_when_failed: bool = False


@dataclass(frozen=True, slots=True)
class TaskSettings(TaskOptions):
    """The options of one task, checked."""

    priority: int = _option(PRIORITY, "Priority from 0 to 9. 9 is served first; on Redis, 0 is.", 0)
    max_retries: int | None = _option(
        OptionForm(
            kinds=(Integral,),
            expected="a whole number, or None for no limit",
            most=MOST_RETRIES,
            takes_none=True,
        ),
        "It is retried this often; `None`: any number of times.",
        3,
    )
    retry_for: Exceptions = _option(EXCEPTIONS, "It is retried unasked after these exceptions.", ())
    dont_retry_for: Exceptions = _option(
        EXCEPTIONS, "It is not retried unasked after these, though they are among `retry_for`.", ()
    )
    retry_backoff: float = _option(
        OptionForm(kinds=(Real,), expected="True, False, or seconds", most=LONGEST_S, read=float),
        "The first wait before such a retry, doubled each time; `False`: `retry_delay` is the wait.",
        1.0,
    )
    retry_backoff_max: float = _option(
        OptionForm(kinds=(Real,), expected="seconds", most=LONGEST_S),
        "The longest wait before such a retry.",
        600.0,
    )
    retry_jitter: bool = _option(FLAG, "The wait is drawn between 0 and that.", True)
    retry_delay: float = _option(
        OptionForm(kinds=(Real,), expected="seconds", most=LONGEST_S),
        "The wait of `self.retry()` without `countdown`, and of retries without backoff.",
        180.0,
    )
    expires: float = _option(
        OptionForm(kinds=(Real,), expected="seconds; 0 for never", most=LONGEST_S),
        "A message that waited longer does not run; 0: it always does.",
        0.0,
    )
    track_started: bool = _option(FLAG, "When it begins, the state STARTED is stored.", False)
    compression: str = _option(
        COMPRESSION,
        '`"gzip"`, `"bzip2"`, `"lzma"`; with the extra `compression` also `"brotli"` and `"zstd"`.',
        "",
    )

    def __post_init__(self) -> None:
        """Keep each value as its form reads it.

        Raises: ``TypeError``, ``ValueError`` naming the task and the option.
        """
        for name, default, form in _FORMS:
            value = getattr(self, name)
            if value is not default:
                object.__setattr__(self, name, form.taken(f'task "{self.name}": {name}', value))
        if not self.name or not self.queue:
            raise ValueError(f'task "{self.name}": name and queue cannot be empty')


def worker_options(settings: TaskSettings) -> TaskOptions:
    """Return what the worker must know of a task."""
    return TaskOptions(*(getattr(settings, each.name) for each in fields(TaskOptions)))


#: The options of ``@app.task`` by name.
TASK: Mapping[str, TaskOption] = {
    each.name: each.metadata["option"] for each in fields(TaskSettings) if "option" in each.metadata
}


_FORMS = tuple(
    (each.name, each.default, TASK[each.name].form) for each in fields(TaskSettings) if each.name in TASK
)


class DeclareOptions(TypedDict, total=False):
    """Keywords of ``@app.task(...)``, all optional; ``TaskSettings`` says what each means."""

    name: str
    queue: str
    priority: int
    acks: Literal["late", "early"]
    ignore_result: bool
    max_retries: int | None
    retry_for: Exceptions
    dont_retry_for: Exceptions
    retry_backoff: bool | float
    retry_backoff_max: float
    retry_jitter: bool
    retry_delay: float
    soft_time_limit: float
    time_limit: float
    expires: float
    rate_limit: str | float
    send_events: bool
    keep_failures: bool
    track_started: bool
    compression: str


# -- the options of one send -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOption:
    """One option of a send."""

    form: OptionForm
    meaning: str
    #: The task header that carries it as it is; empty: ``send`` makes more of it than a copy.
    header: str = ""
    #: The type that it has in a signature; None: a signature does not carry it.
    signed: Any = None
    #: How a signature's value is read by what it clearly means.
    understood: Callable[[object], object] | None = None
    #: Whether ``self.retry`` may change it for the next run.
    for_retry: bool = False


_Links = list[dict[str, object]] | dict[str, object]

#: The options of ``apply_async`` and its like by name.
SEND: Mapping[str, SendOption] = {
    "countdown": SendOption(
        form=OptionForm(kinds=(Real, timedelta), expected="seconds or a timedelta", is_time=True),
        meaning="Run it after this time at the earliest.",
        signed=float,
        understood=lenient.finite,
    ),
    "eta": SendOption(
        form=OptionForm(kinds=(datetime,), expected="a datetime with a time zone"),
        meaning="Run it at this time at the earliest.",
        signed=datetime,
        understood=lenient.moment,
    ),
    "expires": SendOption(
        form=OptionForm(
            kinds=(Real, timedelta, datetime),
            expected="seconds, a timedelta, or a datetime with a time zone",
            is_time=True,
        ),
        meaning="Drop it if it has not begun after this time.",
        signed=float | datetime,
        understood=lenient.moment_or_span,
        for_retry=True,
    ),
    "queue": SendOption(
        form=TEXT, meaning="Queue to send to, in place of the task's own.", signed=str, for_retry=True
    ),
    "priority": SendOption(
        form=PRIORITY,
        meaning="Priority from 0 to 9. 9 is served first; on Redis, 0 is.",
        signed=int,
        for_retry=True,
    ),
    "task_id": SendOption(
        form=TEXT,
        meaning="Id of your own, which must be new; its result has the same.",
        signed=str,
        understood=lenient.text,
    ),
    "headers": SendOption(
        form=OptionForm(kinds=(Mapping,), expected="a dict"),
        meaning="Headers of your own; the task reads them as `request.headers`.",
        signed=dict[str, object],
        for_retry=True,
    ),
    "max_retries": SendOption(
        form=COUNT,
        meaning="Retry it this often at most, in place of what the task says.",
        header="taskd_max_retries",
        signed=int,
        understood=lenient.count,
    ),
    "retry_delay": SendOption(
        form=SECONDS,
        meaning="Wait this long before each retry, in place of the task's own wait and backoff.",
        header="taskd_retry_delay",
        signed=float,
        understood=lenient.span,
    ),
    "ignore_result": SendOption(
        form=FLAG,
        meaning="Keep neither its result nor its error, in place of what the task says.",
        signed=bool,
        understood=lenient.flag,
        for_retry=True,
    ),
    "soft_time_limit": SendOption(
        form=SECONDS,
        meaning="Raise `SoftTimeLimitExceeded` in it after this time, in place of the task's own limit.",
        signed=float,
        understood=lenient.span,
        for_retry=True,
    ),
    "time_limit": SendOption(
        form=SECONDS,
        meaning="End it after this time, in place of the task's own limit.",
        signed=float,
        understood=lenient.span,
        for_retry=True,
    ),
    "compression": SendOption(
        form=OptionForm(kinds=(str,), expected="the name of a compression"),
        meaning="Compress its body this way, in place of what the task says.",
    ),
    "link": SendOption(
        form=LINKS,
        meaning="Send these when it has succeeded, its result before their own arguments.",
        signed=_Links,
    ),
    "link_error": SendOption(
        form=LINKS,
        meaning="Send these when it has failed for good, its id before their own arguments.",
        signed=_Links,
    ),
}


class SendOptions(TypedDict, total=False):
    """Keywords of ``apply_async``, ``send_task`` and ``Call.with_options``, all optional.

    ``SEND`` says what each means.
    """

    countdown: float | timedelta
    eta: datetime
    expires: float | timedelta | datetime
    queue: str
    priority: int
    task_id: str
    headers: Mapping[str, object]
    max_retries: int
    retry_delay: float
    ignore_result: bool
    soft_time_limit: float
    time_limit: float
    compression: str
    link: Link | Sequence[Link] | None
    link_error: Link | Sequence[Link] | None
