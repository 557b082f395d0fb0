"""Tables of taskctl in terminals that are too narrow for them."""

from __future__ import annotations

from taskd.cli.daemon import state_of
from taskd.cli.output import fitting
from taskd.supervisor.model.rows import ProgramRow

COLUMNS = ("NAME", "STATE", "PID")
ROWS = [["mail-1", "READY", 4711]]


def test_a_table_that_fits_stays_whole() -> None:
    assert fitting(COLUMNS, ROWS, 19, ("PID",)) == (list(COLUMNS), ROWS)


def test_spare_columns_are_left_out_until_the_rest_fits() -> None:
    assert fitting(COLUMNS, ROWS, 18, ("PID", "STATE")) == (["NAME", "STATE"], [["mail-1", "READY"]])


def test_what_is_not_spare_stays_however_narrow_it_is() -> None:
    assert fitting(COLUMNS, [], 1, ("PID",)) == (["NAME", "STATE"], [])


def test_down_says_whether_it_is_as_it_should_be() -> None:
    def state(*, wanted: bool, spare: bool) -> str:
        return state_of(ProgramRow(name="a-1", kind="worker", state="DOWN", wanted=wanted, spare=spare))

    assert state(wanted=True, spare=False) == "DOWN"
    assert state(wanted=False, spare=False) == "DOWN (stopped)"
    assert state(wanted=False, spare=True) == "DOWN (not needed)"
