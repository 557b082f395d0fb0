"""Start an ordered set of steps, and undo exactly what was started.

A step names the step classes that it needs.  The blueprint sorts them, starts them in order, hands each the
values that the earlier ones provided, and stops them in reverse.  A start that fails is rolled back: no step
is left running.  Celery's bootsteps are the model for the vocabulary, not for the rule on failed starts
(there, what had started goes on).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, ClassVar, Generic, TypeVar, cast

from taskd.base.errors import StartError, TaskdError
from taskd.base.lifecycle import Deadline

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Given:
    """Values that the steps started so far have provided, by step class."""

    def __init__(self, info: Callable[[], dict[str, object]] = dict) -> None:
        """``info``: what the steps started so far tell of themselves."""
        self.info = info
        self._values: dict[type[Step[Any]], object] = {}

    def __getitem__(self, step: type[Step[T]]) -> T:
        """Return what ``step`` provided; ``KeyError`` when it is excluded or was not required."""
        return cast("T", self._values[step])

    def get(self, step: type[Step[T]]) -> T | None:
        """Return what ``step`` provided; None when it is excluded or was not required."""
        return cast("T | None", self._values.get(step))

    def _put(self, step: type[Step[Any]], value: object) -> None:
        self._values[step] = value


class Step(Generic[T]):
    """One part of a blueprint; ``T`` is what it provides to the later ones."""

    #: The name that people see in logs; Celery's, where Celery has the step.
    name: ClassVar[str]
    #: Steps that must run before this one.
    requires: ClassVar[tuple[type[Step[Any]], ...]] = ()
    #: Starts after all steps that are not last themselves.
    last: ClassVar[bool] = False

    def included(self) -> bool:
        """Return whether the step takes part; asked once, before anything starts."""
        return True

    def start(self, given: Given) -> T:
        """Start; return what later steps may use.  When it raises it must leave nothing running."""
        raise AssertionError(f"step {self.name} does not say how it starts")

    def quiet(self) -> None:
        """Take nothing new.  Never blocks."""

    def stop(self, deadline: Deadline) -> None:
        """Undo ``start``.  Called only after ``start`` returned."""

    def info(self) -> dict[str, object]:
        """Return this step's part of ``inspect stats``."""
        return {}


class Phase(Enum):
    """How far a blueprint is."""

    DOWN = "down"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Blueprint:
    """A set of steps with one life; may be started again after a stop."""

    def __init__(self, name: str, steps: Iterable[Step[Any]]) -> None:
        self.name = name
        self.phase = Phase.DOWN
        self._steps = in_order([step for step in steps if step.included()])
        self._started: list[Step[Any]] = []

    @property
    def steps(self) -> Sequence[Step[Any]]:
        """The included steps in the order of their start."""
        return self._steps

    def start(self) -> Given:
        """Start every step in order.  The last one may block, as an event loop does.

        Raises: ``StartError`` from the step's error, after the started steps were stopped.  Errors
        that are ``TaskdError`` already pass through as they are.
        """
        if self.phase is not Phase.DOWN:
            raise StartError(f"blueprint {self.name} is {self.phase.value}; it can be started only when down")
        self.phase = Phase.STARTING
        given = Given(self.info)
        for step in self._steps:
            logger.debug("blueprint=%s step=%s starting", self.name, step.name)
            # The last step may block in start() for the whole life of the blueprint.
            if step is self._steps[-1]:
                self.phase = Phase.RUNNING
            try:
                given._put(type(step), step.start(given))
            except BaseException as error:
                self.stop(Deadline.after(0.0))
                if isinstance(error, TaskdError) or not isinstance(error, Exception):
                    raise
                raise StartError(f"step {step.name} of {self.name} did not start: {error}") from error
            self._started.append(step)
        return given

    def quiet(self) -> None:
        """Tell every started step, in order, to take nothing new."""
        for step in list(self._started):
            step.quiet()

    def stop(self, deadline: Deadline) -> None:
        """Stop the started steps in reverse.  An error of one is logged and keeps none from its stop."""
        self.phase = Phase.STOPPING
        while self._started:
            step = self._started.pop()
            logger.debug("blueprint=%s step=%s stopping", self.name, step.name)
            try:
                step.stop(deadline)
            except Exception:
                logger.exception("blueprint=%s step=%s did not stop cleanly", self.name, step.name)
        self.phase = Phase.DOWN

    def info(self) -> dict[str, object]:
        """Return the merged ``info`` of the started steps."""
        merged: dict[str, object] = {}
        for step in self._started:
            merged.update(step.info())
        return merged


def in_order(steps: Sequence[Step[Any]]) -> list[Step[Any]]:
    """Return the steps so that each follows those it requires; given order otherwise.

    A required step that is not among them (it was excluded) is not waited for.
    Raises: ``StartError`` for a circle.
    """
    by_class = {type(step): step for step in steps}
    ordered: list[Step[Any]] = []
    visiting: list[type[Step[Any]]] = []

    def place(step: Step[Any]) -> None:
        if step in ordered:
            return
        if type(step) in visiting:
            circle = " -> ".join(cls.name for cls in [*visiting, type(step)])
            raise StartError(f"steps require one another in a circle: {circle}")
        visiting.append(type(step))
        for needed in step.requires:
            if needed in by_class:
                place(by_class[needed])
        visiting.pop()
        ordered.append(step)

    for step in sorted(steps, key=lambda each: each.last):
        place(step)
    return ordered
