"""Tasks that kill the whole worker, on the pools that run them in its own process."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.system.daemon import HEAD, ROOT, Daemon
from tests.waiting import wait_until

SWIFT = HEAD + 'restart_delay_max = "100ms"\nrestart_intensity = 100\n'


@pytest.mark.parametrize("pool", ["threads", "solo", "asyncio", "gevent"])
def test_a_task_that_kills_its_worker_is_parked_with_the_evidence_and_the_others_run(
    make_daemon: Callable[..., Daemon], tmp_path: Path, pool: str
) -> None:
    daemon = make_daemon(f'[worker.main]\npool = "{pool}"\nconcurrency = 4\n', head=SWIFT)
    daemon.start()
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    beside = (
        daemon.app.send_task("shop.hold", (str(tmp_path / "held"), str(gate))) if pool != "solo" else None
    )
    if beside is not None:
        wait_until((tmp_path / "held").exists, 10)
    killer = daemon.app.send_task("shop.segfault", (str(runs),))
    others = [daemon.app.send_task("shop.add", (1, number)) for number in range(5)]

    if beside is not None:
        # Both are suspects now; in their last life one runs at a time.
        wait_until(lambda: len((tmp_path / "held").read_text().split()) >= 2, 20)
        gate.touch()
    with pytest.raises(Exception, match="Worker exited prematurely"):
        killer.get(timeout=60)

    assert len(runs.read_text().split()) == 3
    (dead,) = wait_until(daemon.dead_letters)
    assert dead["task_id"] == killer.id
    assert dead["reason"] == "its worker died 3 times"
    assert [other.get(timeout=60) for other in others] == [1, 2, 3, 4, 5]
    if beside is not None:
        assert beside.get(timeout=60) == "held"


def test_a_task_whose_worker_is_killed_because_it_does_not_stop_is_not_blamed(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    head = SWIFT.replace("20s", "100ms")
    daemon = make_daemon('[worker.main]\npool = "solo"\nmax_deaths = 1\n', head=head)
    daemon.start()
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    result = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(runs.exists, 10)

    daemon.ctl("restart", "main-1", "--timeout", "30s")
    wait_until(lambda: len(runs.read_text().split()) == 2, 20)
    gate.touch()

    assert result.get(timeout=60) == "held"
    assert daemon.dead_letters() == []


@pytest.mark.parametrize(
    ("task", "whose"), [("shop.kill_worker", "worker"), ("shop.kill_group", "pool child")]
)
def test_a_prefork_task_that_kills_more_than_its_child_is_parked(
    make_daemon: Callable[..., Daemon], tmp_path: Path, task: str, whose: str
) -> None:
    daemon = make_daemon("[worker.main]\nconcurrency = 2\n", head=SWIFT)
    daemon.start()
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    beside = daemon.app.send_task("shop.hold", (str(tmp_path / "held"), str(gate)))
    wait_until((tmp_path / "held").exists, 20)

    killer = daemon.app.send_task(task, (str(runs),))
    if whose == "worker":
        # Both are suspects now; in their last life one runs at a time.
        wait_until(lambda: len((tmp_path / "held").read_text().split()) >= 2, 20)
    gate.touch()
    with pytest.raises(Exception, match="Worker exited prematurely"):
        killer.get(timeout=60)

    assert len(runs.read_text().split()) == 3
    (dead,) = wait_until(daemon.dead_letters)
    assert (dead["task_id"], str(dead["reason"])[:19]) == (killer.id, f"its {whose} died 3 times"[:19])
    assert beside.get(timeout=60) == "held"
    assert daemon.app.send_task("shop.add", (1, 2)).get(timeout=60) == 3


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory in which root and the user nobody share what they make, and that others may enter."""
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, -1, pwd.getpwnam("nobody").pw_gid)
        os.chmod(name, 0o2777)  # what is made in it belongs to the group
        yield Path(name)


def _interpreter_of_nobody(environment: dict[str, str]) -> str:
    """Return a Python that the user nobody may execute, and that finds our code; skip where there is none."""
    for path in (sys.executable, "/usr/bin/python3"):
        command = [path, "-c", "import tests.system.shop, taskd.worker.pools"]
        try:
            if not subprocess.run(command, user="nobody", env=environment, check=False).returncode:
                return path
        except PermissionError:
            pass
    pytest.skip("only root can change users, where others may execute a Python with taskd")


@pytest.mark.parametrize(("pool", "task"), [("threads", "shop.segfault"), ("prefork", "shop.kill_worker")])
def test_a_task_that_kills_its_worker_is_parked_where_the_worker_is_another_users_too(
    make_daemon: Callable[..., Daemon], shared: Path, pool: str, task: str
) -> None:
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(msgspec.__file__).parent.parent)])}
    keys = [
        f'interpreter = "{_interpreter_of_nobody(environment)}"',
        f'environment = {{ PYTHONPATH = "{environment["PYTHONPATH"]}" }}',
        f'pool = "{pool}"',
    ]
    table = "\n".join(["[worker.main]", 'user = "nobody"', "concurrency = 2", *keys])
    daemon = make_daemon(table, head=SWIFT.replace("sqlite://", f"sqlite://{shared}/"))
    daemon.start()
    runs = shared / "runs"

    killer = daemon.app.send_task(task, (str(runs),))
    with pytest.raises(Exception, match="Worker exited prematurely"):
        killer.get(timeout=60)

    assert len(runs.read_text().split()) == 3
    (dead,) = wait_until(daemon.dead_letters)
    assert (dead["task_id"], dead["reason"]) == (killer.id, "its worker died 3 times")
    assert daemon.app.send_task("shop.add", (1, 2)).get(timeout=60) == 3
