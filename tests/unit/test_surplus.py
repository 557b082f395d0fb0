"""How much of a file nobody has needed for a while."""

from __future__ import annotations

from taskd.storage.sqlite.space import WINDOW_S, Pages, Surplus


def looks(surplus: Surplus, *free: int, used: int = 10) -> list[int]:
    """Return what may go after looks that are half a window apart."""
    return [
        surplus.look(Pages(used, pages, True), number * WINDOW_S / 2) for number, pages in enumerate(free)
    ]


def test_nothing_goes_before_a_whole_window_is_over() -> None:
    assert looks(Surplus(), 1000, 1000) == [0, 0]


def test_what_was_free_all_the_time_goes_but_for_a_reserve() -> None:
    assert looks(Surplus(), 1000, 1000, 1000) == [0, 0, 1000 - 16]


def test_half_of_what_is_used_stays_for_what_comes() -> None:
    assert looks(Surplus(), 1000, 1000, 1000, used=500)[-1] == 750


def test_what_a_tide_needs_now_and_then_stays() -> None:
    assert looks(Surplus(), 1000, 20, 1000, 20, 1000, 20) == [0, 0, 4, 4, 4, 4]


def test_pages_that_another_process_gave_back_are_not_given_again() -> None:
    assert looks(Surplus(), 1000, 1000, 1000, 30) == [0, 0, 984, 14]


def test_what_came_into_use_after_the_window_stays() -> None:
    assert looks(Surplus(), 1000, 1000, 1000, 10, 1000)[-1] == 0
