"""A run that fails leaves nothing for the garbage collector: it comes seldom, and each traceback is large."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo, Traceback
from celery import Celery
from celery.exceptions import Ignore, Reject

from taskd.protocol.execution import Assignment, End
from tests.component.celery_messages import delivery_of, executor_of
from tests.system.celery_client import CELERYS_WARNINGS

pytestmark = CELERYS_WARNINGS


class Held:
    """A local variable of a task."""


def fail(_task: Any) -> None:
    raise ValueError("no")


def fail_for_a_reason(_task: Any) -> None:
    try:
        raise KeyError("why")
    except KeyError as reason:
        raise ValueError("no") from reason


def retry(task: Any) -> None:
    try:
        raise ValueError("not yet")
    except ValueError as error:
        raise task.retry(exc=error, countdown=60) from error


def ignore(_task: Any) -> None:
    raise Ignore


def reject(_task: Any) -> None:
    raise Reject("no", requeue=False)


def leave(_task: Any) -> None:
    raise SystemExit(1)


def frozen(_task: Any) -> None:
    raise Frozen(1)


@dataclass(frozen=True)
class Frozen(Exception):
    """Does not let anybody set its attributes."""

    number: int


def copies_of_tracebacks() -> int:
    return sum(isinstance(each, (ExceptionInfo, Traceback)) for each in gc.get_objects())


@pytest.fixture
def without_collector() -> Iterator[None]:
    logging.disable()  # pytest keeps each record, with what it tells of
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize(
    ("end_badly", "end"),
    [
        (fail, End.FAILED),
        (fail_for_a_reason, End.FAILED),
        (retry, End.RETRIED),
        (ignore, End.IGNORED),
        (reject, End.REJECTED),
        (leave, End.FAILED),
        (frozen, End.FAILED),
    ],
)
def test_what_a_task_held_goes_with_its_run(end_badly: Callable[[Any], None], end: End) -> None:
    app = Celery("garbage", broker="memory://", backend="cache+memory://", set_as_current=False)
    held = []

    @app.task(name="ends", bind=True, shared=False)  # type: ignore[untyped-decorator]
    def ends(self: Any) -> None:
        local = Held()
        held.append(weakref.ref(local))
        end_badly(self)

    executor = executor_of(app)
    before = copies_of_tracebacks()

    reply = executor.execute(Assignment(delivery_of(app, "ends")))

    assert reply.end is end
    assert held[0]() is None
    assert copies_of_tracebacks() == before
