"""How far a reload came that failed."""

from __future__ import annotations

from taskd.supervisor.model.reach import Reach, reach_of


def test_each_group_that_a_reload_concerns_is_in_one_of_the_two() -> None:
    reach = reach_of(
        {"mail", "io", "beat", "old"}, ["mail", "idle", "io", "beat"], {"io": "its programs died"}
    )

    assert reach == Reach(("mail", "beat", "old (removed)"), ("io",))
    assert str(reach) == "in force: mail, beat, old (removed); not in force, as before the reload: io"


def test_a_reload_that_came_nowhere_says_so() -> None:
    assert str(Reach()) == "nothing of the new configuration is in force"
    assert str(reach_of({"io"}, ["io"], {"io": "dead"})) == (
        "in force: no group; not in force, as before the reload: io"
    )
