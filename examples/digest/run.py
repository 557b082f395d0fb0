"""The driver of scripts/demo: real jobs over real files, a kill half-way, and a check of every result.

Exit status 0 when no job was lost and none is wrong, 1 otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import stat
import sys
import sysconfig
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from daemon import CONFIG, Daemon, DemoError
from progress import Display
from report import Outcome, show
from rich.console import Console
from tasks import Digest, Measures, app, crunch, measure

from taskd import AsyncResult
from taskd.sending.result import ResultTimeout

NOT_STANDARD = {"site-packages", "dist-packages", "__pycache__"}
#: A job without an answer after this time counts as lost.
PATIENCE_S = 120.0

TASKS = (measure.name, crunch.name)
Job = tuple[str, str, AsyncResult[Measures] | AsyncResult[Digest]]


def main() -> int:
    """Run the demo; return the exit status."""
    options = _options()
    width = None if sys.stdout.isatty() else 110
    console = Console(highlight=False, markup=False, width=width)
    with tempfile.TemporaryDirectory(prefix="taskd-demo-") as state:
        os.environ["DIGEST_STATE"] = state
        os.environ["TASKD_CONFIG"] = str(CONFIG)
        paths, planted = _files(options.directory, options.limit), _plant(Path(state))
        console.print(f"{len(paths):,} files under {options.directory}")
        console.print(
            f"planted: {planted[0]} cannot be read, {planted[1]} vanishes before it is read", soft_wrap=True
        )
        daemon = Daemon(Path(state))
        try:
            daemon.wait_ready()
            console.print(f"taskd is ready, pid {daemon.process.pid}")
            outcome = _work(console, daemon, Path(state), paths, planted)
            show(console, options.directory, outcome)
            _tell_what_the_kill_did(console, daemon, outcome)
            console.print(daemon.taskctl("status").stdout, soft_wrap=True)
            problems = _verify(paths, planted, outcome) + daemon.stop()
        except DemoError as error:
            problems = [str(error)]
        finally:
            app.close()
            daemon.end()
        if problems:
            console.print("\n".join(problems[:20]), soft_wrap=True)
            console.print(
                f"FAILED: {len(problems)} problems; the end of the daemon's log:\n{daemon.tail()}",
                soft_wrap=True,
            )
            return 1
    console.print("taskd ended with status 0 and left no process behind")
    console.print(f"ok: {outcome.jobs:,} jobs, none lost, every checksum verified")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Digest every regular file under a directory with taskd.")
    default = Path(sysconfig.get_paths()["stdlib"])
    parser.add_argument("directory", nargs="?", type=Path, default=default, help="default: %(default)s")
    parser.add_argument("--limit", type=int, default=None, help="take only the first so many files")
    options = parser.parse_args()
    options.directory = options.directory.resolve()
    if not options.directory.is_dir():
        parser.error(f"{options.directory} is not a directory")
    return options


def _files(root: Path, limit: int | None) -> list[str]:
    """Return the regular files below ``root``, packages that are not Python's own left out of the default."""
    found: list[str] = []
    for folder, below, names in os.walk(root):
        below[:] = sorted(set(below) - NOT_STANDARD)
        for name in sorted(names):
            path = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                found.append(path)
    return found[:limit]


def _plant(state: Path) -> tuple[str, str]:
    """Return a file that nobody can read, root included, and one that is there no more."""
    unreadable, vanished = state / "unreadable", state / "vanished"
    unreadable.symlink_to("/proc/self/mem")  # a regular file whose first page is not mapped: reading is EIO
    vanished.write_text("here now, gone in a moment\n")
    return str(unreadable), str(vanished)


def _work(
    console: Console, daemon: Daemon, state: Path, paths: Sequence[str], planted: tuple[str, str]
) -> Outcome:
    """Send two jobs for each file, wait for all, and kill a pool child half-way."""
    outcome = Outcome()
    Path(planted[1]).unlink()
    everything = [*planted, *paths]
    began = time.monotonic()
    readings = app.send_many(measure.call(path) for path in everything)
    digests = app.send_many(crunch.call(path) for path in everything)
    console.print(f"sent {len(readings) + len(digests):,} jobs in {time.monotonic() - began:.2f} s")
    waiting: deque[Job] = deque(
        job
        for path, reading, digest in zip(everything, readings, digests, strict=True)
        for job in ((measure.name, path, reading), (crunch.name, path, digest))
    )
    with Display(console, len(waiting), state / "progress.jsonl") as display:
        half = len(waiting) // 2
        while waiting:
            if len(waiting) == half:
                half = -1
                victim, state_of_victim = daemon.pool_child("digest-1")
                os.kill(victim, signal.SIGKILL)
                display.say(f"half-way: killed pool child {victim}, {state_of_victim}, with SIGKILL")
            job = waiting.popleft()
            if _collect(job, outcome):
                display.advance()
            elif time.monotonic() < began + PATIENCE_S:
                waiting.append(job)  # not yet: ask for the others first
                display.look()
            else:
                outcome.lost.append(job[:2])
        outcome.seconds = time.monotonic() - began
        display.wait_for_report(began + PATIENCE_S)
    return outcome


def _tell_what_the_kill_did(console: Console, daemon: Daemon, outcome: Outcome) -> None:
    console.print("\nWhat the kill did, in the words of the daemon's log:")
    for line in daemon.said("SIGKILL"):
        console.print(f"  {line}", soft_wrap=True)
    again = [path for path, digest in outcome.crunched.items() if digest["deliveries"] > 1]
    for path in again:
        console.print(
            f"  run again by another child, with a right result: {path}", markup=False, soft_wrap=True
        )
    console.print()


def _collect(job: Job, outcome: Outcome) -> bool:
    """Put the end of a job where it belongs; return whether it has come."""
    task, path, result = job
    try:
        value = result.get(timeout=0.05)
    except ResultTimeout:
        return False
    except Exception as error:  # noqa: BLE001 - whatever the task raised
        outcome.failed[task, path] = f"{type(error).__name__}: {error}"
    else:
        if task == measure.name:
            outcome.measured[path] = cast("Measures", value)
        else:
            outcome.crunched[path] = cast("Digest", value)
    return True


def _verify(paths: Sequence[str], planted: Sequence[str], outcome: Outcome) -> list[str]:
    """Compute everything once more, here, and return what differs."""
    problems = [f"lost: {task} {path}" for task, path in outcome.lost]
    problems += [
        f"{task} {path}: expected a failure record, found none"
        for path in planted
        for task in TASKS
        if (task, path) not in outcome.failed
    ]
    for path in paths:
        problems += [f"{path}: {problem}" for problem in _differences(path, outcome)]
    return problems


def _differences(path: str, outcome: Outcome) -> Iterator[str]:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        if (crunch.name, path) not in outcome.failed:
            yield f"cannot be read any more ({error}), but has a digest"
        return
    measured, crunched = outcome.measured.get(path), outcome.crunched.get(path)
    for task in TASKS:
        if (task, path) in outcome.failed:
            yield f"{task} failed, but the file can be read: {outcome.failed[task, path]}"
    if crunched and crunched["sha256"] != hashlib.sha256(data).hexdigest():
        yield "the checksum is wrong"
    if measured and (measured["size_bytes"], measured["lines"], measured["words"]) != (
        len(data),
        data.count(b"\n"),
        len(data.split()),
    ):
        yield f"the measures are wrong: {json.dumps(measured)}"


if __name__ == "__main__":
    sys.exit(main())
