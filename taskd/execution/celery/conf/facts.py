"""``python -m taskd.execution.celery.conf.facts APP``: import a Celery app as its user would and print it.

One JSON document (``CeleryFacts``) goes to the standard output as it was at the start; output of the user's
modules goes to standard error.  The document holds passwords: it is for the pipe of ``taskctl import``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import celery
import msgspec

from taskd.base import exit_codes
from taskd.base.errors import ResolveError
from taskd.base.resolve import failure_of, with_remedy
from taskd.base.urls import masked
from taskd.execution.celery.conf import findings, translating
from taskd.execution.celery.conf.differing import differing, settings_of, shown_setting
from taskd.execution.celery.conf.routed import routed_queues, routes_in
from taskd.execution.celery.conf.settings import keys_of, verdict_on
from taskd.execution.celery.schedule.declared import DeclaredCelery
from taskd.execution.finding import code_of_celery, is_celery, load
from taskd.sending.celery_facts import CeleryEntry, CeleryFacts, CelerySetting, CeleryTask

_OURS = ("celery.",)
#: Options of a task that a person decided, with Celery's defaults.
_OPTIONS: Mapping[str, object] = {
    "queue": None,
    "acks_late": False,
    "reject_on_worker_lost": None,
    "ignore_result": False,
    "time_limit": None,
    "soft_time_limit": None,
    "rate_limit": None,
    "priority": None,
    "max_retries": 3,
    "track_started": False,
}
_MOST_ENTRIES = 10_000


def facts_of(app: Any, path: str) -> CeleryFacts:
    """Return all that a file for an app is written from."""
    settings = settings_of(app)
    found = differing(settings)
    backend = settings.get("result_backend")
    return CeleryFacts(
        app=path,
        celery_version=celery.__version__,
        broker=translating.broker_address(settings),
        broker_shown=masked(translating.broker_url(settings)),
        results=str(translating.results(backend, settings)["results"]),
        results_shown=shown_setting("result_backend", backend) if backend else "",
        keys={key: _plain(value) for key, value in keys_of(found, settings).items()},
        settings=[_setting(name, value) for name, value in sorted(found.items())],
        queues=findings.queues_of(app),
        routes=dict(routes_in(settings.get("task_routes"))),
        routed={each.name: each.by for each in routed_queues(app, settings)},
        tasks=list(_tasks(app)),
        entries=list(_entries(settings.get("beat_schedule"))),
        scheduler=str(settings.get("beat_scheduler") or ""),
        findings=findings.of(app),
    )


def _plain(value: object) -> object:
    """Return a value as a file can hold it; a text stands for any other object."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items() if each is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value if isinstance(value, (str, int, float)) else str(value)


def _setting(name: str, value: object) -> CelerySetting:
    verdict = verdict_on(name)
    shown = shown_setting(name, value)
    if verdict is None:
        return CelerySetting(name, shown, "", "taskd does not know this setting of a newer Celery")
    return CelerySetting(name, shown, verdict.fate.value, verdict.said)


def _tasks(app: Any) -> Iterator[CeleryTask]:
    for name, task in sorted(app.tasks.items()):
        if not name.startswith(_OURS):
            values = {option: getattr(task, option, default) for option, default in _OPTIONS.items()}
            decided = {
                option: value if isinstance(value, (str, int, float, bool)) else str(value)
                for option, value in values.items()
                if value != _OPTIONS[option] and value is not None
            }
            yield CeleryTask(name, decided)


def _entries(given: object) -> Iterator[CeleryEntry]:
    for name, entry in list(given.items())[:_MOST_ENTRIES] if isinstance(given, Mapping) else ():
        if isinstance(entry, Mapping):
            yield CeleryEntry(str(name), str(entry.get("task")), str(entry.get("schedule")))
        else:
            yield CeleryEntry(str(name), str(getattr(entry, "task", "")), str(getattr(entry, "schedule", "")))


def main() -> None:
    """Print the facts, or what failed; leave without waiting for threads of the user's."""
    answer_fd = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    path = sys.argv[1]
    status = exit_codes.OK
    try:
        app = load(path)
        if not is_celery(app):
            raise ResolveError(f'app "{path}" is not a Celery app')
        with code_of_celery(app, path):
            DeclaredCelery(app)
        document = msgspec.json.encode(facts_of(app, path))
        with os.fdopen(answer_fd, "wb") as answer:
            answer.write(document)
    except BaseException as error:  # noqa: BLE001 - whatever the user's module raises is what is asked for
        reason, detail = failure_of(error)
        sys.stderr.write(f"{reason}\n{with_remedy(detail, path)}\n")
        status = exit_codes.APP_BROKEN
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
