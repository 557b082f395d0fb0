"""``systemd/taskd.service`` under a real systemd, one throw-away box for each test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.systemd

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


def in_box(*command: str, timeout_s: float = 90.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(HERE / "box.sh"), "--", *command],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.fixture(scope="session")
def box() -> None:
    """Skip, with the reason, where no systemd can be booted; where it can, nothing is skipped."""
    if os.geteuid() != 0:
        pytest.skip("a box with a real systemd needs root")
    tried = in_box("true")
    if tried.returncode != 0:
        pytest.skip(f"no systemd can be booted here: {tried.stderr.strip()[-300:]}")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("box")
def test_start_and_stop_a_hundred_times_leave_nothing() -> None:
    scenario = "start_and_stop_a_hundred_times_leave_nothing"

    done = in_box(sys.executable, str(HERE / "inside.py"), scenario, timeout_s=500)

    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-8000:]}"


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize(
    "scenario",
    [
        "start_returns_only_after_every_worker_is_ready",
        "a_task_runs",
        "it_works_as_the_page_says",
        "a_start_fails_when_no_worker_is_ready",
        "a_python_below_root_is_refused_by_name",
        "stop_leaves_nothing",
        "a_stop_while_workers_start_leaves_nothing",
        pytest.param("a_drain_may_last_longer_than_the_units_stop_timeout", marks=pytest.mark.slow),
        "a_killed_main_process_is_recovered",
        pytest.param("a_hung_main_process_is_replaced_by_the_watchdog", marks=pytest.mark.slow),
        "a_wrong_configuration_is_not_tried_again",
        "reload_returns_when_it_is_done_and_keeps_what_did_not_change",
        "a_reload_of_a_wrong_file_fails_and_changes_nothing",
        pytest.param("a_hung_main_process_leaves_its_traceback", marks=pytest.mark.slow),
        "what_a_worker_tells_systemd_is_ignored",
        "a_shutdown_by_taskctl_is_final",
        "the_last_state_outlives_a_stop",
        "members_of_the_group_may_do_what_their_role_allows",
        "the_socket_can_belong_to_another_group",
        "programs_may_have_users_of_their_own",
        "the_doctor_finds_nothing_wrong_with_what_is_shipped",
        "every_drop_in_is_sound_and_costs_little_protection",
        "the_journal_gets_priorities",
        "the_journal_knows_the_program_of_each_line",
        "the_journal_has_the_facts_of_each_death",
        "the_unit_is_sound_and_hardened",
    ],
)
def test_under_systemd(scenario: str) -> None:
    done = in_box(sys.executable, str(HERE / "inside.py"), scenario)

    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-8000:]}"


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize("scenario", ["a_task_of_one_user_stays_that_user"])
def test_an_attack_under_systemd(scenario: str) -> None:
    done = in_box(sys.executable, str(HERE / "attacks.py"), scenario)

    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
