"""A store of chords in memory, and parts of a chord as a worker returns them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from taskd.base.errors import StorageError
from taskd.consumer.settling.chords import Returned
from taskd.protocol.chord import Begun, ChordPart
from taskd.protocol.message import TaskHeaders
from taskd.protocol.results import failure_record, success_record
from taskd.results.base import Counted

BODY = {"task": "sum", "args": [], "kwargs": {}, "options": {"task_id": "body", "queue": "sums"}}


class Store:
    """Counts in memory; ``answer`` stands for what another worker has done."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: dict[str, bytes] = {}
        self.saved: bytes | None = None
        self.answer: Counted | None = None
        self.broken = ""
        self.calls: list[str] = []

    def _call(self, name: str) -> None:
        if name == self.broken:
            raise StorageError("gone")
        self.calls.append(name)

    def begin(self, chord: Begun) -> None:
        self._call(f"begin {chord.size}")

    def count(self, parts: Sequence[tuple[ChordPart, bytes]], token: str) -> Sequence[Counted]:
        self._call("count")
        found = []
        for each, value in parts:
            self.kept[each.task_id] = value
            complete = len(self.kept) == self.size
            found.append(self.answer or (Counted.COMPLETE if complete else Counted.WAITS))
        return found

    def values(self, group: str) -> Sequence[bytes]:
        self._call("values")
        return [self.kept[name] for name in sorted(self.kept)]

    def tree(self, group: str) -> bytes | None:
        return self.saved

    def finish(self, group: str, token: str) -> None:
        self._call("finish")

    def add(self, group: str, count: int) -> None:
        self._call("add")

    def fail(self, group: str) -> None:
        self._call("fail")

    def close(self) -> None:
        pass


def part(task_id: str, value: object = 1, body: Mapping[str, object] = BODY) -> Returned:
    if isinstance(value, Exception):
        record = failure_record(task_id, value, done_at=0.0)
    else:
        record = success_record(task_id, value, done_at=0.0)
    chord_part = ChordPart("group", 0, task_id, json.dumps(body).encode())
    return Returned(chord_part, record, TaskHeaders(task="t", id=task_id, root_id="root"), "mail")
