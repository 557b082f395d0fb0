"""What a worker's process leaves behind about the tasks that it ran."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from taskd.consumer.suspects import key_of
from taskd.worker.ledger import ChildLedger, Ledger, open_ledger

_PROGRAM = """
import os, signal, sys
from pathlib import Path
from taskd.worker.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), 4)
ended = ledger.begin("ended")
ledger.begin("running")
ledger.begin("x" * 200)
ledger.end(ended)
if sys.argv[2] == "stopping":
    ledger.stopping()
if sys.argv[2] == "closed":
    ledger.close()
os.kill(os.getpid(), signal.SIGKILL)
"""


def die(path: Path, how: str = "") -> None:
    subprocess.run([sys.executable, "-c", _PROGRAM, str(path), how], check=False)


_READ = """
import sys
from pathlib import Path
from taskd.worker.ledger import Ledger
print(*sorted(key.decode() for key in Ledger(Path(sys.argv[1]), 4).suspects.keys()))
"""


def suspected(path: Path) -> list[str]:
    """Return what a successor with the same parent process blames."""
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(path)], check=True, capture_output=True, text=True
    )
    return done.stdout.split()


def test_what_ran_in_a_killed_process_is_known_to_its_successor_and_to_no_later_one(tmp_path: Path) -> None:
    path = tmp_path / "main-1.running"
    die(path)

    assert suspected(path) == sorted(["running", key_of("x" * 200).decode()])
    die(path, "stopping")
    assert suspected(path) == []


def test_a_process_that_was_asked_to_end_has_not_died_of_its_tasks(tmp_path: Path) -> None:
    path = tmp_path / "main-1.running"
    die(path, "stopping")

    assert suspected(path) == []


def test_a_process_that_ended_in_order_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "main-1.running"
    die(path, "closed")

    assert not path.exists()


def test_nobody_is_blamed_for_the_death_of_the_supervisor(tmp_path: Path) -> None:
    path = tmp_path / "main-1.running"
    die(path)

    # This process has another parent than the one that died.
    assert len(Ledger(path, 4).suspects) == 0


def test_a_damaged_file_blames_nobody(tmp_path: Path) -> None:
    path = tmp_path / "main-1.running"
    for content in (b"", b"taskd", os.urandom(300), b"taskd-running-1\n"):
        path.write_bytes(content)

        assert len(Ledger(path, 4).suspects) == 0


def test_a_full_ledger_takes_no_more_and_loses_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "main-1.running", 2)
    slots = [ledger.begin(f"t{number}") for number in range(3)]

    assert slots[2] == 0
    for slot in slots:
        ledger.end(slot)
    assert ledger.begin("again") != 0


def test_a_child_writes_into_the_ledger_of_its_worker_which_forgets_what_died_alone(tmp_path: Path) -> None:
    path = tmp_path / "main-1.running"
    ledger = Ledger(path, 3)
    children = [ChildLedger(ledger.fd) for _ in range(3)]
    for number, child in enumerate(children, 1):
        child.take_slot(number)
        child.begin(f"t{number}")
    children[0].end(children[0].begin("t1"))
    ledger.forget("t2")

    assert Ledger(path, 3).suspects.keys() == {b"t3"}
    children[0].take_slot(4)
    assert children[0].begin("beyond the last slot") == 0


def test_without_a_place_for_it_there_is_none(tmp_path: Path) -> None:
    assert open_ledger(str(tmp_path / "not-there" / "taskd.sock"), "main-1", 4) is None
