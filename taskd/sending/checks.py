"""Refuse an option that does not exist, or a value that cannot be meant, with the words that help."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from taskd.base.nearest import nearest
from taskd.sending.options import SEND, TASK, DeclareOptions, TaskSettings


def check_options(name: str, options: Mapping[str, object]) -> None:
    """Refuse what a send cannot mean.

    Raises: ``TypeError`` for an option that does not exist or a wrong type, ``ValueError`` for a wrong value.
    """
    for option, value in options.items():
        known = SEND.get(option)
        if known is None:
            remedy = _remedy(option, SEND)
            raise TypeError(f'task "{name}" cannot be sent with {option}: no such option{remedy}')
        if value is not None:
            known.form.taken(f'task "{name}": {option}', value)


def settings_from(name: str, options: DeclareOptions) -> TaskSettings:
    """Return checked settings.

    Raises: ``ValueError`` for a value that cannot be meant, ``TypeError`` for an unknown option.
    """
    for option in options:
        if option not in TASK:
            hint = _CELERYS.get(option)
            remedy = f"; {hint}" if hint else _remedy(option, TASK)
            raise TypeError(f'task "{name}" has no option {option}{remedy}')
    return TaskSettings(**{**options, "name": name})  # type: ignore[arg-type]  # it reads each as its form says


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


def _remedy(option: str, known: Iterable[str]) -> str:
    """Return what to write in the place of an unknown option."""
    hint = nearest(option, known)
    return f', did you mean "{hint}"?' if hint else f"; there are {', '.join(known)}"
