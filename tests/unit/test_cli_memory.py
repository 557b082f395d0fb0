"""MEMORY means one thing in every table of taskctl."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskd.cli import status, top
from taskd.cli.rates import Pace
from taskd.host import procinfo
from taskd.supervisor.model.rows import ProgramRow

MIB = 2**20

SHOWN: dict[str, Callable[[ProgramRow], object]] = {
    "status": lambda row: status._row(row, 0.0)[status._COLUMNS.index("MEMORY")],
    "top": lambda row: top._row(row, Pace(None, None))[top._COLUMNS.index("MEMORY")],
}


@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
@pytest.mark.parametrize(("pss_bytes", "cell"), [(3 * MIB, "3.0 MiB"), (0, "9.0 MiB RSS")])
def test_it_is_the_fair_share_where_that_can_be_seen(
    shown: Callable[[ProgramRow], object], pss_bytes: int, cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procinfo, "tree_pss_bytes", lambda _pid: pss_bytes)

    row = ProgramRow(name="a-1", kind="worker", state="READY", wanted=True, pid=7, rss_bytes=9 * MIB)
    assert shown(row) == cell


@pytest.mark.parametrize("verb", ["status", "top"])
def test_the_help_says_which_measure_it_is(verb: str) -> None:
    command = {"status": status.status, "top": top.top}[verb]
    assert "MEMORY is the fair share (PSS) of all processes of a program" in (command.help or "")
