"""The agenda: what is due, and when the next thing is."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from taskd.beat.agenda import Agenda


def agenda(**times: float) -> Agenda:
    made = Agenda()
    made.plan(times.items())
    return made


def take_all(made: Agenda, now: float) -> list[str]:
    taken = []
    while (name := made.take_due(now)) is not None:
        taken.append(name)
    return taken


def test_an_empty_agenda_is_never_due() -> None:
    assert agenda().next_at() == math.inf
    assert agenda().take_due(1e12) is None
    assert agenda().due(1e12) == set()


def test_what_is_due_is_taken_in_the_order_of_time_and_once() -> None:
    made = agenda(late=3.0, early=1.0, later=5.0)

    assert take_all(made, 4.0) == ["early", "late"]
    assert take_all(made, 4.0) == []
    assert made.next_at() == 5.0


def test_looking_takes_nothing() -> None:
    made = agenda(late=3.0, early=1.0, later=5.0)

    assert sorted(made.due(4.0)) == ["early", "late"]
    assert sorted(made.due(4.0)) == ["early", "late"]


def test_a_name_that_is_put_again_counts_at_its_new_time_only() -> None:
    made = agenda(a=1.0, b=2.0)
    made.put("a", 9.0)
    made.put("b", 0.5)

    assert take_all(made, 3.0) == ["b"]
    assert made.due(10.0) == {"a"}
    assert take_all(made, 10.0) == ["a"]


def test_a_name_that_is_dropped_or_never_comes_is_not_due() -> None:
    made = agenda(a=1.0, b=2.0, c=math.inf)
    made.drop("a")
    made.drop("unknown")
    made.put("b", math.inf)

    assert made.next_at() == math.inf


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 100)), max_size=60), st.floats(0, 100))
def test_it_agrees_with_a_plain_table(puts: list[tuple[str, float]], now: float) -> None:
    made = Agenda()
    table: dict[str, float] = {}
    for name, at in puts:
        made.put(name, at)
        table[name] = at

    due = sorted(name for name, at in table.items() if at <= now)

    assert sorted(made.due(now)) == due
    assert sorted(take_all(made, now)) == due
