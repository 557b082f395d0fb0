"""A broker that fails at chosen calls: before it has done what was asked, or after, with the answer lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from taskd.base.errors import BrokerError, StorageError
from taskd.protocol.delivery import Ack, Dead, Delivery, Replace, Requeue, Settlement

#: What cannot fail: descriptors, what a broken connection answers as well, and what opens nothing yet.
_LOCAL = {"fileno", "clear_wakeups", "lease_s", "queues", "close", "url", "closed", "event_sender"}


class Fault(Enum):
    """When a call fails."""

    BEFORE = "before"
    AFTER = "after"


class Faults:
    """Counts the calls on a broker and all its parts, and fails those of ``plan``, numbered from 1."""

    def __init__(self, plan: Mapping[int, Fault]) -> None:
        self._plan = plan
        self.calls: list[str] = []
        #: Tags of messages that were done with, as often as that was carried out and not refused.
        self.acknowledged: list[int] = []

    def wrap(self, part: object) -> Any:
        """Return the same part with failing calls."""
        return _Part(self, part)

    def call(self, name: str, function: Callable[..., Any], *args: Any, **words: Any) -> Any:
        self.calls.append(name)
        fault = self._plan.get(len(self.calls))
        error = (BrokerError, StorageError)[len(self.calls) % 2]
        lost = error(f"call {len(self.calls)} ({name}) failed {fault.value if fault else ''}")
        if fault is Fault.BEFORE:
            raise lost
        answer = function(*args, **words)
        if name == "settle":
            self._note(args[0], answer)
        if fault is Fault.AFTER:
            if name == "claim":
                _give_back(function, answer)
            raise lost
        return answer

    def _note(self, outcomes: Sequence[Settlement], refused: Sequence[int]) -> None:
        done = (Ack, Replace, Dead)
        self.acknowledged += [
            each.tag for each in outcomes if isinstance(each, done) and each.tag not in refused
        ]


def _give_back(claim: Callable[..., Any], deliveries: Sequence[Delivery]) -> None:
    """An intake promises that nothing is claimed when it fails, however it brings that about."""
    claim.__self__.settle([Requeue(each.tag, started=False) for each in deliveries])  # type: ignore[attr-defined]


class _Part:
    def __init__(self, faults: Faults, part: object) -> None:
        self._faults = faults
        self._part = part

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        if name in _LOCAL or not callable(value):
            return value

        def call(*args: Any, **words: Any) -> Any:
            answer = self._faults.call(name, value, *args, **words)
            opened = hasattr(answer, "fileno") or hasattr(answer, "publish")
            return _Part(self._faults, answer) if opened else answer

        return call
