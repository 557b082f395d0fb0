"""The time limit of a verb ends it wherever it is."""

from __future__ import annotations

import signal
import threading

import pytest

from taskd.base import exit_codes
from taskd.cli.output import Failure
from taskd.cli.time_limit import alarm


def test_a_time_limit_passes_through_barriers() -> None:
    def wait_behind_a_barrier() -> None:
        try:
            threading.Event().wait(60)
        except Exception:  # noqa: BLE001 - as that around the check of a file
            pytest.fail("a barrier took the time limit for an error of its own")

    with pytest.raises(Failure) as raised, alarm(0.01):
        wait_behind_a_barrier()

    assert raised.value.exit_code == exit_codes.TEMPFAIL
    assert str(raised.value) == "not done within 0.01 s (--timeout)"


class Finalized:
    """Waits in its finalizer, in which Python drops what is raised."""

    def __del__(self) -> None:
        threading.Event().wait(60)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_time_limit_that_strikes_in_a_finalizer_strikes_again() -> None:
    def finalize_and_wait() -> None:
        Finalized()
        threading.Event().wait(60)

    with pytest.raises(Failure), alarm(0.01):
        finalize_and_wait()


def test_a_block_that_is_done_in_time_leaves_no_alarm() -> None:
    with alarm(60.0):
        pass

    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
