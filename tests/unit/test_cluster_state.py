"""The picture that events make, and who wins an election: pure."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from taskd.events.election import Elections, Nominee
from taskd.events.state import ClusterState
from taskd.protocol.events import Seen


def event(kind: str, hostname: str = "w@h", **fields: Any) -> Seen:
    return Seen(type=kind, hostname=hostname, timestamp=1.0, pid=5, raw=fields)


def test_a_worker_lives_for_two_of_its_intervals() -> None:
    state = ClusterState()
    state.apply(event("worker-online", freq=2.0, active=1, processed=9), 100.0)

    assert [worker.hostname for worker in state.alive(103.9)] == ["w@h"]
    assert state.alive(104.0) == []
    state.apply(event("worker-heartbeat", freq=2.0), 103.0)
    assert state.alive(106.9) != []


def test_a_worker_that_says_goodbye_is_not_alive() -> None:
    state = ClusterState()
    state.apply(event("worker-online", freq=2.0), 100.0)

    state.apply(event("worker-offline"), 101.0)

    assert state.alive(101.0) == []


def test_the_lost_are_told_once() -> None:
    state = ClusterState()
    state.apply(event("worker-online", "a@h", freq=2.0), 100.0)
    state.apply(event("worker-online", "b@h", freq=60.0), 100.0)

    assert [worker.hostname for worker in state.forget_lost(110.0)] == ["a@h"]
    assert state.forget_lost(110.0) == []


def test_a_task_is_followed_through_its_life() -> None:
    state = ClusterState()
    for kind, fields in (
        ("task-sent", {"name": "add", "args": "(1,)"}),
        ("task-received", {"name": "add"}),
        ("task-started", {}),
        ("task-retried", {"exception": "E()"}),
        ("task-received", {}),
    ):
        state.apply(event(kind, uuid="id", **fields), 1.0)

    assert (state.tasks["id"].state, state.tasks["id"].args) == ("RECEIVED", "(1,)")
    state.apply(event("task-succeeded", uuid="id", result="2", runtime=0.5), 1.0)
    assert (state.tasks["id"].state, state.tasks["id"].outcome, state.tasks["id"].runtime_s) == (
        "SUCCESS",
        "2",
        0.5,
    )


def test_what_arrives_late_does_not_undo_what_came_of_the_task() -> None:
    state = ClusterState()
    state.apply(event("task-succeeded", uuid="id", result="2"), 1.0)

    state.apply(event("task-received", uuid="id", name="add"), 1.0)
    state.apply(event("task-started", uuid="id"), 1.0)

    task = state.tasks["id"]
    assert (task.state, task.name, task.outcome) == ("SUCCESS", "add", "2")


def test_the_picture_is_bounded() -> None:
    state = ClusterState(max_tasks=10, max_workers=3)
    for number in range(100):
        state.apply(event("task-received", uuid=str(number)), 1.0)
        state.apply(event("worker-heartbeat", f"{number}@h"), 1.0)

    assert list(state.tasks) == [str(number) for number in range(90, 100)]
    assert list(state.workers) == ["97@h", "98@h", "99@h"]


@given(
    st.dictionaries(
        st.sampled_from(["uuid", "freq", "active", "processed", "name", "runtime", "result", "sw_ident"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
    ),
    st.sampled_from(["worker-heartbeat", "task-sent", "task-succeeded", "task-", "x", "worker-offline"]),
)
def test_no_field_raises(fields: dict[str, Any], kind: str) -> None:
    state = ClusterState()

    state.apply(event(kind, **fields), 1.0)
    state.forget_lost(2.0)


def call(clock: int, who: str) -> Nominee:
    return Nominee(clock, who, "task", None)


def test_the_earliest_call_leads_and_names_decide_between_equals() -> None:
    elections = Elections()
    elections.ask("e")
    for each in (call(7, "b.1"), call(5, "c.1"), call(5, "a.1")):
        elections.called("e", each)

    assert elections.answered("e", "a", alive=2) is None
    leader = elections.answered("e", "b", alive=2)

    assert leader is not None
    assert leader.who == "a.1"


def test_an_election_ends_once_and_answers_are_counted_by_worker() -> None:
    elections = Elections()
    elections.ask("e")
    elections.called("e", call(1, "a.1"))

    assert elections.answered("e", "a", alive=2) is None
    assert elections.answered("e", "a", alive=2) is None
    assert elections.answered("e", "b", alive=2) is not None
    assert elections.answered("e", "c", alive=2) is None


def test_answers_to_others_mean_nothing_and_open_elections_are_bounded() -> None:
    elections = Elections(max_open=3)
    elections.called("theirs", call(1, "a.1"))
    assert elections.answered("theirs", "a", alive=1) is None

    for number in range(100):
        elections.called(str(number), call(1, "a.1"))
    elections.ask("mine")
    elections.called("mine", call(1, "a.1"))

    assert elections.answered("mine", "a", alive=1) is not None


def test_calls_of_a_stranger_without_end_take_no_room_and_keep_nobody_from_leading() -> None:
    elections = Elections()
    elections.ask("e")
    elections.called("e", Nominee(7, "a@x.1", "task", {}))
    for number in range(50_000):
        elections.called("e", Nominee(100 + number, f"liar{number}@x.1", "task", {"big": "x"}))

    assert kept(elections) == 1
    leader = elections.answered("e", "a@x", alive=1)
    assert leader is not None
    assert leader.who == "a@x.1"


def kept(elections: Elections) -> int:
    """Return how many calls are kept."""
    return sum(each.first is not None for each in elections._open.values())
