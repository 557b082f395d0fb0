"""A wall clock that jumps is noticed; one that is corrected little by little is not."""

from __future__ import annotations

from taskd.base.jumps import Jumps, in_words


def test_a_jump_is_told_once_with_its_direction() -> None:
    jumps = Jumps(now=1000.0, monotonic=50.0)

    assert jumps.look(1010.0, 60.0) == 0.0
    assert jumps.look(4620.0, 70.0) == 3600.0
    assert jumps.look(4630.0, 80.0) == 0.0
    assert jumps.look(1040.0, 90.0) == -3600.0
    assert in_words(3600.0) == "the clock was set forward by 3600 s"
    assert in_words(-90.4) == "the clock was set back by 90 s"


def test_what_a_time_server_corrects_in_small_steps_is_no_jump() -> None:
    jumps = Jumps(0.0, 0.0)
    assert not any(jumps.look(step * 10.005, step * 10.0) for step in range(10_000))
