"""What a worker's process leaves behind about the tasks that it ran."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from taskd.execution.ledger import ChildLedger, Ledger
from taskd.protocol.ledger import key_of
from taskd.protocol.status import LEDGER_FDS_VARIABLE
from taskd.supervisor.process.legacy import Legacy
from taskd.worker.ledger import open_ledger, suspects_in

_PROGRAM = """
import os, signal, sys
from taskd.worker.ledger import open_ledger
given = open_ledger(4)
ledger = given.ledger
print(*sorted(key.decode() for key in given.suspects.keys()), flush=True)
ended = ledger.begin("ended")
ledger.begin("running")
ledger.begin("x" * 200)
ledger.end(ended)
if sys.argv[1] == "stopping":
    ledger.stopping()
if sys.argv[1] == "closed":
    ledger.close()
os.kill(os.getpid(), signal.SIGKILL)
"""
_RUNNING = sorted(["running", key_of("x" * 200).decode()])


@pytest.fixture
def legacy() -> Iterator[Legacy]:
    """What one program leaves from process to process."""
    made = Legacy()
    yield made
    made.close()


def run(legacy: Legacy, how: str = "", *, user: str = "") -> list[str]:
    """Run the next process of a program until it is killed; return what it blames of its predecessor's."""
    fds = legacy.for_next(user)
    environment = {**os.environ, LEDGER_FDS_VARIABLE: ",".join(map(str, fds))}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, how],
        check=False,
        env=environment,
        pass_fds=fds,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.split()


def test_what_ran_in_a_killed_process_is_known_to_its_successor_and_to_no_later_one(legacy: Legacy) -> None:
    assert run(legacy) == []

    assert run(legacy, "stopping") == _RUNNING
    assert run(legacy) == []


@pytest.mark.parametrize("how", ["stopping", "closed"])
def test_a_process_that_was_asked_to_end_or_ended_in_order_has_not_died_of_its_tasks(
    legacy: Legacy, how: str
) -> None:
    run(legacy, how)

    assert run(legacy) == []


def test_nobody_is_told_what_a_process_of_another_user_ran(legacy: Legacy) -> None:
    run(legacy, user="mailer")

    assert run(legacy, user="shop") == []
    assert run(legacy, user="mailer") == []


def test_where_no_process_could_be_made_the_next_one_still_learns_of_the_last(
    legacy: Legacy,
) -> None:
    run(legacy)
    legacy.for_next("")
    legacy.take_back()

    assert run(legacy) == _RUNNING


def test_whoever_runs_tasks_cannot_have_the_supervisor_keep_more_memory(legacy: Legacy) -> None:
    (fd,) = legacy.for_next("")

    for size in (0, 1 << 30):
        with pytest.raises(PermissionError):
            os.ftruncate(fd, size)


def test_damaged_memory_blames_nobody(legacy: Legacy) -> None:
    for content in (
        b"",
        b"taskd",
        os.urandom(300),
        b"taskd-running-1\n",
        b"taskd-running-1\n" + b"\xff" * 48,
    ):
        fd = os.memfd_create("damaged")
        os.pwrite(fd, content, 0)

        assert len(suspects_in(fd)) == 0
        os.close(fd)


def test_a_full_ledger_takes_no_more_and_loses_nothing(legacy: Legacy) -> None:
    ledger = Ledger(os.dup(legacy.for_next("")[0]), 2)
    slots = [ledger.begin(f"t{number}") for number in range(3)]

    assert slots[2] == 0
    for slot in slots:
        ledger.end(slot)
    assert ledger.begin("again") != 0
    ledger.close()


def test_more_slots_than_there_is_room_for_are_as_many_as_there_is_room_for(legacy: Legacy) -> None:
    ledger = Ledger(os.dup(legacy.for_next("")[0]), 1 << 20)

    assert ledger.begin("t1") != 0
    assert suspects_in(ledger.fd).keys() == {b"t1"}
    ledger.close()


def test_a_child_writes_into_the_ledger_of_its_worker_which_forgets_what_died_alone(legacy: Legacy) -> None:
    ledger = Ledger(os.dup(legacy.for_next("")[0]), 3)
    children = [ChildLedger(ledger.fd) for _ in range(3)]
    for number, child in enumerate(children, 1):
        child.take_slot(number)
        child.begin(f"t{number}")
    children[0].end(children[0].begin("t1"))
    ledger.forget("t2")

    assert suspects_in(ledger.fd).keys() == {b"t3"}
    children[0].take_slot(4)
    assert children[0].begin("beyond the last slot") == 0
    ledger.close()


def test_without_a_supervisor_there_is_none() -> None:
    assert open_ledger(4).ledger is None
