"""Database files that cannot be used: a message that names the file, and nothing lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskd.base.errors import StorageFullError
from tests.system.daemon import ONE_PREFORK_WORKER, Daemon
from tests.waiting import wait_until


def detail(daemon: Daemon) -> str:
    """What ``taskctl status`` says about the worker."""
    return str(daemon.row("main-1")["detail"]) if daemon.rows() else ""


def test_a_worker_waits_for_a_database_directory_that_is_none_and_goes_on_when_it_is(
    make_daemon: Callable[..., Daemon],
) -> None:
    daemon = make_daemon()
    daemon.file.write_text(daemon.file.read_text().replace("sqlite://broker.db", "sqlite://place/broker.db"))
    place = daemon.directory / "place"
    place.write_text("in the way")
    daemon.spawn()
    wait_until(lambda: "place" in detail(daemon), 20, "a reason in the status")
    pid = daemon.pid_of("main-1")

    place.unlink()
    place.mkdir()
    daemon.wait_ready()

    assert daemon.pid_of("main-1") == pid, "a worker never exits because its broker is away"
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5


def test_a_corrupt_database_is_named_in_the_status(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    (daemon.directory / "broker.db").write_bytes(os.urandom(8192))

    daemon.spawn()

    wait_until(lambda: "broker.db" in detail(daemon), 20, "a reason in the status")
    assert daemon.ctl("status").returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small tmpfs cannot be mounted: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_refuses_the_sender_and_loses_nothing_of_what_was_accepted(
    make_daemon: Callable[..., Daemon], small_disk: Path, tmp_path: Path
) -> None:
    daemon = make_daemon(ONE_PREFORK_WORKER)
    for name in ("broker.db", "results.db"):
        text = daemon.file.read_text().replace(f"sqlite://{name}", f"sqlite://{small_disk}/{name}")
        daemon.file.write_text(text)
    daemon.start()
    notes = tmp_path / "notes"
    filler = small_disk / "filler"
    accepted = []
    with filler.open("wb") as file:
        for block in range(10_000):
            try:
                file.write(b"x" * 65536)
                file.flush()
            except OSError:
                break
            assert block < 9_999
    refused, message = 0, ""
    for number in range(2000):
        try:
            daemon.app.send_task("shop.note", (str(notes), str(number)))
            accepted.append(number)
        except StorageFullError as error:
            message = str(error)
            refused += 1
            if refused > 5:
                break
    assert refused, "the disk was never full"
    assert str(small_disk) in message

    filler.unlink()

    wait_until(
        lambda: set(map(str, accepted)) <= set(notes.read_text().split() if notes.exists() else []),
        30,
        "the effect of every accepted task",
    )
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5


def test_a_database_that_is_deleted_while_in_use_is_made_again(daemon: Daemon) -> None:
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5
    for path in daemon.directory.glob("*.db*"):
        if path.is_file():
            path.unlink()

    assert daemon.app.send_task("shop.add", (1, 1)).get(timeout=60) == 2
    assert daemon.row("main-1")["restarts"] == 0
