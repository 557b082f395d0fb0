"""Results as messages, over a post of the test's: expiry, lost connections, forks."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Sequence

import pytest

from taskd.base import clock
from taskd.base.errors import StorageError
from taskd.base.lifecycle import Deadline
from taskd.base.wakeup import Wakeup
from taskd.results.base import StoredResult
from taskd.results.rpc import RpcResults


class FakePost:
    """Queues in memory, which outlive their boxes."""

    def __init__(self, expires_s: float = 60.0) -> None:
        self.expires_s = expires_s
        self.queues: dict[str, list[bytes]] = defaultdict(list)
        self.boxes: list[FakeBox] = []
        self.closed = False

    def send(self, results: Sequence[StoredResult]) -> None:
        for result in results:
            if result.reply_to in self.queues:
                self.queues[result.reply_to].append(result.record)
        for box in self.boxes:
            if not box.closed:
                box.wakeup.set()

    def box(self, queue: str) -> FakeBox:
        self.boxes.append(FakeBox(self.queues[queue]))
        return self.boxes[-1]

    def close(self) -> None:
        self.closed = True


class FakeBox:
    def __init__(self, queue: list[bytes]) -> None:
        self.queue = queue
        self.cut = False
        self.closed = False
        self.wakeup = Wakeup()

    def receive(self) -> Sequence[bytes]:
        if self.cut:
            raise StorageError("the connection is cut")
        self.wakeup.clear()
        found = list(self.queue)
        self.queue.clear()
        return found

    def fileno(self) -> int:
        return self.wakeup.fileno()

    def close(self) -> None:
        self.closed = True
        self.wakeup.close()


@pytest.fixture
def post() -> FakePost:
    return FakePost()


def answer(store: RpcResults, task_id: str, state: str = "SUCCESS", result: str = "1") -> None:
    record = f'{{"status":"{state}","result":{result},"task_id":"{task_id}"}}'.encode()
    store.store([StoredResult(task_id, state, record, None, store.reply_to(), task_id)])


def test_a_result_without_an_address_goes_nowhere(post: FakePost) -> None:
    RpcResults(post).store([StoredResult("a", "SUCCESS", b"{}", None)])

    assert not post.queues


def test_what_nobody_asks_for_is_dropped_in_time(post: FakePost, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "now", lambda: now)
    store = RpcResults(post)
    answer(store, "old")
    store.get(["other"])
    now = 1050.0
    answer(store, "new")
    store.get(["other"])

    assert store.expire(1061.0) == 1
    assert set(store.get(["old", "new"])) == {"new"}


def test_results_for_ever_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    store = RpcResults(FakePost(expires_s=0.0))
    answer(store, "a")
    store.get(["other"])

    assert store.expire(clock.now() + 1e9) == 0
    assert set(store.get(["a"])) == {"a"}


def test_a_result_may_be_asked_for_twice_but_not_all_are_kept_for_that(post: FakePost) -> None:
    store = RpcResults(post)
    for number in range(1500):
        answer(store, str(number))

    found = store.wait([str(number) for number in range(1500)], Deadline.after(0.0))

    assert len(found) == 1500
    assert set(store.get(["0", "1499"])) == {"1499"}


def test_a_connection_that_is_cut_is_made_anew_and_loses_nothing(post: FakePost) -> None:
    store = RpcResults(post)
    answer(store, "a")
    post.boxes[0].cut = True

    assert set(store.wait(["a"], Deadline.after(10.0))) == {"a"}
    assert [box.closed for box in post.boxes] == [True, False]


def test_a_forked_child_has_a_queue_of_its_own(post: FakePost) -> None:
    store = RpcResults(post)
    parents = store.reply_to()
    answer(store, "a")

    child = os.fork()
    if child == 0:
        os._exit(0 if store.reply_to() != parents and store.get(["a"]) == {} else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.reply_to() == parents


def test_what_is_no_result_is_passed_over_and_odd_ones_are_not(post: FakePost) -> None:
    store = RpcResults(post)
    post.queues[store.reply_to()] += [b"{", b'{"task_id": 1}', b"\xff"]
    record = b'{"status":"SUCCESS","result":NaN,"task_id":"odd","traceback":null,"children":[]}'
    post.queues[store.reply_to()].append(record)

    assert store.get(["odd"]) == {"odd": record}


def test_one_thread_reads_for_all_that_wait(post: FakePost) -> None:
    store = RpcResults(post)
    names = [str(number) for number in range(10)]
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda name=name: found.extend(store.wait([name], Deadline.after(20.0))))
        for name in names
    ]
    for thread in threads:
        thread.start()

    for name in reversed(names):
        answer(store, name)
    for thread in threads:
        thread.join(60.0)

    assert sorted(found) == names
    assert len(post.boxes) == 1


def test_a_closed_store_says_so(post: FakePost) -> None:
    store = RpcResults(post)
    store.reply_to()

    store.close()
    store.close()

    assert post.closed
    assert post.boxes[0].closed
    with pytest.raises(StorageError, match="closed"):
        store.get(["a"])
