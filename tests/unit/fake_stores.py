"""A broker and a result store that keep lists, and that a test can break."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from taskd.base.errors import StorageFullError
from taskd.base.lifecycle import Deadline
from taskd.protocol.delivery import Delivery, Outgoing, Settlement
from taskd.results.base import StoredResult
from taskd.results.collecting import PlainCollector


class Stores:
    """A broker's intake and publisher and a result store in one, that can be broken."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.stored: list[str] = []
        self.broken: set[str] = set()

    def _call(self, name: str) -> None:
        if name in self.broken:
            raise StorageFullError(f"{name}: disk full")
        self.calls.append(name)

    def reply_to(self) -> str:
        return ""

    def store(self, results: Sequence[StoredResult]) -> None:
        self._call("store")
        self.stored += [result.task_id for result in results]

    def get(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        return {}

    def wait(self, task_ids: Sequence[str], deadline: Deadline) -> Mapping[str, bytes]:
        return {}

    def collect(self, task_ids: Collection[str]) -> PlainCollector:
        return PlainCollector(lambda ids, deadline: {}, task_ids)

    def forget(self, task_ids: Sequence[str]) -> None:
        self._call("forget")

    def expire(self, now: float) -> int:
        return 0

    def writing(self, results: Sequence[StoredResult]) -> object | None:
        return [result.task_id for result in results]

    def publish(self, messages: Sequence[Outgoing]) -> None:
        self._call("publish")

    def close(self) -> None:
        self._call("close")


class FakeIntake(Stores):
    """Settles into a list; there is never anything to claim."""

    lease_s = 60.0

    def __init__(self) -> None:
        super().__init__()
        self.settled: list[Settlement] = []

    def settle(self, outcomes: Sequence[Settlement]) -> Sequence[int]:
        self._call("settle")
        self.settled += outcomes
        return [outcome.tag for outcome in outcomes if outcome.tag < 0]

    def claim(self, limit: int) -> Sequence[Delivery]:
        return ()

    def renew(self) -> None:
        self._call("renew")

    def fileno(self) -> int:
        return -1

    def clear_wakeups(self) -> None:
        pass

    def next_due_at(self) -> float | None:
        return None

    def scheduled(self, limit: int) -> Sequence[tuple[float, Delivery]]:
        return ()

    def depth(self) -> int:
        return 0

    def queues(self) -> Sequence[str]:
        return ()

    def add_queue(self, queue: str) -> None:
        self._call("add_queue")

    def cancel_queue(self, queue: str) -> None:
        self._call("cancel_queue")
