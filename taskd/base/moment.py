"""One kind of thing that happens in a program, for whoever wants to hear of it.

A moment that nobody hears costs its publisher one test: ``if moment.heard_by: moment.publish(...)``.
Subscribers only hear: an error of one is logged and harms neither the others nor the publisher.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Moment(Generic[T]):
    """One moment and its subscribers.  For one thread."""

    __slots__ = ("_watched_by", "heard_by", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        #: The subscribers; empty while nobody wants to hear.
        self.heard_by: tuple[Callable[[T], None], ...] = ()
        self._watched_by: tuple[Callable[[bool], None], ...] = ()

    def subscribe(self, hear: Callable[[T], None]) -> Callable[[], None]:
        """Call ``hear`` from now on; return what ends the subscription."""
        is_first = not self.heard_by
        self.heard_by = (*self.heard_by, hear)
        if is_first:
            self._tell_watchers()

        def unsubscribe() -> None:
            if hear in self.heard_by:
                self.heard_by = tuple(each for each in self.heard_by if each != hear)
                if not self.heard_by:
                    self._tell_watchers()

        return unsubscribe

    def when_heard(self, tell: Callable[[bool], None]) -> None:
        """Call ``tell`` with whether somebody hears, now and when that changes."""
        self._watched_by = (*self._watched_by, tell)
        tell(bool(self.heard_by))

    def _tell_watchers(self) -> None:
        for tell in self._watched_by:
            tell(bool(self.heard_by))

    def publish(self, what: T) -> None:
        """Tell all subscribers, in the order of their subscriptions."""
        for hear in self.heard_by:
            try:
                hear(what)
            except Exception:
                logger.exception("a subscriber of moment=%s failed", self.name)
