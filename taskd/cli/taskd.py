"""The ``taskd`` command: check the configuration, then be the supervisor in the foreground.

Why argparse, where taskctl uses click: this process lives as long as the server.  The library would add 35 ms
to its start and 3.5 MB to its memory for four options.  For the same reason everything that an option does
not need is imported where it is needed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from taskd.base import exit_codes
from taskd.base.plural import counted
from taskd.base.version import __version__
from taskd.config.where import RULE, find, found_here

if TYPE_CHECKING:
    from taskd.config.schema import Config


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with ``USAGE``; argparse itself would say 2."""
        self.print_usage(sys.stderr)
        self.exit(exit_codes.USAGE, f"taskd: {message}\n")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit with a status of ``taskd.base.exit_codes``."""
    options = _parser().parse_args(arguments)
    path = find(options.config)
    if options.importing and not options.check:
        _parser().error("--import goes with --check")
    sys.exit(
        _check(path, importing=options.importing)
        if options.check
        else _run(path, is_local=found_here(options.config) is not None)
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="taskd",
        description="Run the background-task daemon in the foreground.",
        epilog="Signals: TERM and INT finish running tasks within stop_timeout. A second one gives them "
        "back to the broker; QUIT does so at once. taskctl shows and steers a running daemon.",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"Configuration file (default: {RULE}).",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="Print every problem of the configuration and exit (78 if it is wrong).",
    )
    parser.add_argument(
        "--import",
        action="store_true",
        dest="importing",
        help=f"With --check: also import each app in a process as its worker's user "
        f"(exit status {exit_codes.APP_BROKEN} if one fails).",
    )
    parser.add_argument("--version", action="version", version=f"taskd {__version__}")
    return parser


def _check(path: str, *, importing: bool) -> int:
    config = _checked(path)
    if config is None:
        return exit_codes.CONFIG
    print(f"{path}: configuration ok", flush=True)
    return _import_apps(config) if importing else exit_codes.OK


def _import_apps(config: Config) -> int:
    """Import the app of each worker as the worker would; print how that went."""
    from taskd.cli.astray import warnings
    from taskd.config.machine import default_user
    from taskd.protocol.trial import TrialFacts, taken_from
    from taskd.supervisor.model.roster import told_in_trial, trial_of
    from taskd.supervisor.process.trial import run_to_end

    status = exit_codes.OK
    #: The number of tasks by app and the place where it is imported; None for one that fails.
    found: dict[tuple[str, ...], int | None] = {}
    known: dict[str, TrialFacts] = {}
    for name, worker in config.workers.items():
        spec = trial_of(config, name, default_user=default_user())
        if os.geteuid() == 0 and not spec.process.user:
            print(
                f"worker.{name}: imported as root; for the unit's user: sudo -u taskd taskd --check --import"
            )
        timeout_s = worker.start_timeout or config.supervisor.start_timeout
        tried = run_to_end(spec, told_in_trial(config, name), timeout_s=timeout_s)
        how = (
            "" if tried.status in {exit_codes.OK, exit_codes.APP_BROKEN} else f" (ended with {tried.status})"
        )
        output, facts = taken_from(tried.output)
        if facts is not None:
            known[name] = facts
        out = sys.stdout if tried.status == exit_codes.OK else sys.stderr
        print(f"worker.{name}: {output.strip() or 'no word'}{how}", file=out, flush=True)
        status = status if tried.status == exit_codes.OK else exit_codes.APP_BROKEN
        place = (worker.app or config.app, worker.directory, worker.interpreter)
        found[place] = _task_count(output) if tried.status == exit_codes.OK else None
    for warning in warnings(config, known):
        print(f"warning: {warning}", file=sys.stderr)
    tasks = [number for number in found.values() if number is not None]
    of = "" if len(tasks) == len(found) else f"{len(tasks)} of "
    print(f"imported {of}{counted(len(found), 'app')} with {counted(sum(tasks), 'task')}")
    return status


def _task_count(output: str) -> int:
    """Return the number of tasks in the last line ``APP has 3 tasks`` of a trial; findings follow it."""
    found = re.findall(r" has (\d+) tasks?$", output, re.MULTILINE)
    return int(found[-1]) if found else 0


def _checked(path: str) -> Config | None:
    """Print every problem of the file; return the configuration unless one of them is an error."""
    from taskd.config.load import check

    config, problems = check(path, machine=True)
    for problem in problems:
        print(problem, file=sys.stderr)
    return config


def _run(path: str, *, is_local: bool) -> int:
    config = _checked(path)
    if config is None:
        return exit_codes.CONFIG

    from taskd.base import program_signals
    from taskd.host import breakpoints
    from taskd.supervisor.model.signals import WATCHED

    program_signals.hold(WATCHED)  # until its loop takes them
    breakpoints.offer_terminal()

    import logging

    from taskd.base import log
    from taskd.base.errors import ControlError
    from taskd.host import stacks
    from taskd.host.proctitle import set_title
    from taskd.supervisor.supervisor import Supervisor

    # systemd's watchdog ends a hung daemon by SIGABRT: the journal then shows where it hung.
    stacks.write_at_a_crash()
    log.setup(config.log.level, config.log.format, program="taskd")
    if is_local:
        logging.getLogger(__name__).info("file=%s is the configuration, found in the working directory", path)
    set_title(f"supervisor [{path}]")
    try:
        supervisor = Supervisor(config)
    except ControlError as error:
        print(f"taskd: {error}", file=sys.stderr)
        return exit_codes.CANTCREAT
    try:
        return supervisor.run()
    finally:
        program_signals.ignore_from_now_on(WATCHED)
