"""What the daemon's programs do not import: each of these costs every process time and memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Measured in ms and MB of private memory: asyncio 56/6, kombu.pidbox 77/10, click 35/3.5, rich 63/5.
EXPENSIVE = {
    "asyncio",
    "kombu",
    "click",
    "rich",
    "psutil",
    "gevent",
    "subprocess",
    "concurrent.futures",
    "logging.config",
}
PROGRAMS = ["taskd.supervisor.supervisor", "taskd.worker.__main__", "taskd.beat.__main__"]


def imported_by(module: str) -> set[str]:
    code = f"import sys, {module}; sys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", PROGRAMS)
def test_a_program_of_the_daemon_imports_nothing_expensive(module: str) -> None:
    # Python 3.10's uuid and platform import subprocess themselves; that is not ours to avoid.
    unavoidable = imported_by("msgspec, uuid")

    assert not (imported_by(module) - unavoidable) & EXPENSIVE


def test_beat_and_the_supervisor_do_not_import_the_task_api() -> None:
    for module in ("taskd.supervisor.supervisor", "taskd.beat.__main__"):
        assert not {name for name in imported_by(module) if name.startswith("taskd.app")}


def test_beat_builds_its_messages_without_the_connections_and_results_of_a_caller() -> None:
    imported = {name for name in imported_by("taskd.beat.__main__") if name.startswith("taskd.sending.")}

    assert imported == {"taskd.sending.message"}


def test_the_check_sees_what_is_imported() -> None:
    assert "asyncio" in imported_by("asyncio")


@pytest.mark.parametrize("entry", ["gevent_entry", "eventlet_entry"])
def test_what_is_to_be_patched_is_imported_by_nothing_before(entry: str) -> None:
    bare = imported_by("os")  # what the interpreter itself brings

    early = imported_by(f"taskd.worker.{entry}") - bare

    assert not early & {"socket", "select", "selectors", "ssl", "threading", "queue", "subprocess", "signal"}
    assert {name for name in early if name.startswith("taskd")} == {
        "taskd",
        "taskd.base",
        "taskd.base.version",
        "taskd.worker",
        f"taskd.worker.{entry}",
    }
