"""A broker, a pool and a verb of another package, in a real daemon."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskd.config import installed
from tests.installing import install_third_party
from tests.system.daemon import ROOT, Daemon, head_over


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package, installed for this process and for all that it starts."""
    made = install_third_party(tmp_path)
    # Other tests of this process may have asked which packages there are.
    installed._entry_points.cache_clear()
    monkeypatch.syspath_prepend(str(made))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(made), os.environ.get("PYTHONPATH")])))
    yield made
    installed._entry_points.cache_clear()


def test_a_daemon_runs_tasks_over_the_broker_and_in_the_pool_of_another_package(
    site: Path, make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    head = head_over(f"parcels://{tmp_path}/parcels.db")
    daemon = make_daemon('[worker.main]\npool = "parcels"\n[worker.other]\nqueues = ["other"]\n', head=head)
    daemon.start()

    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5
    assert daemon.app.send_task("shop.add", (3, 4), queue="other").get(timeout=60) == 7

    daemon.app.send_task("shop.add", (1, 1), queue="nobody")
    assert daemon.ctl("parcels").stdout == "1\n"
    assert daemon.ctl("queues", "--json").stdout.count('"name": "nobody"') == 1
    assert "Of other packages:\n  parcels " in daemon.ctl("--help").stdout
    assert daemon.ctl("doctor", check=False).returncode in (0, 1)
    daemon.app.close()


def test_a_file_that_names_them_is_checked_without_the_package(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    head = head_over(f"parcels://{tmp_path}/parcels.db")

    said = make_daemon('[worker.main]\npool = "parcels"\n', head=head).ctl("check", check=False)

    assert said.returncode != 0
    assert 'the scheme "parcels" is not accepted' in said.stdout + said.stderr
    assert '"parcels" is not accepted; expected one of prefork' in said.stdout + said.stderr


def test_the_contract_suites_run_over_them(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKD_TEST_BROKER", "parcels.testing:open_for_test")
    monkeypatch.setenv("TASKD_TEST_POOL", "parcels")
    suites = ["tests/contract/test_broker_record.py", "tests/contract/test_broker_claiming.py"]
    pool = "tests/contract/test_pool_contract.py::test_every_job_gets_one_outcome_with_its_own_reply"

    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n0",
            "-p",
            "no:cacheprovider",
            f"--basetemp={tmp_path / 'theirs'}",
            *suites,
            pool,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout
    assert "skipped" not in run.stdout
