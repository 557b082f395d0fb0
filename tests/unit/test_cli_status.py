"""What ``taskctl status`` prints below its table."""

from __future__ import annotations

import pytest

from taskd.cli.status import _echo_programs
from taskd.supervisor.model.rows import ProgramRow


@pytest.mark.parametrize(("state", "shown"), [("READY", False), ("BACKOFF", True)])
def test_the_reason_of_a_death_stands_there_until_the_program_is_ready_again(
    state: str, shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    row = ProgramRow(
        name="a-1", kind="worker", state=state, wanted=True, reason="it died", detail="signal SIGKILL"
    )

    _echo_programs([row], now=1.0)

    assert ("a-1: signal SIGKILL" in capsys.readouterr().out) is shown
