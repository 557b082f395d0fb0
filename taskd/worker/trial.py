"""``python -m taskd.worker.trial APP TABLE DIRECTORY``: import an app as its worker would; say how it went.

Started by ``taskd --check --import`` as the worker's user.  Nothing else is opened or started.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection

from taskd.base import exit_codes
from taskd.base.plural import counted
from taskd.base.resolve import failure_of, with_remedy
from taskd.config import transfer
from taskd.execution.opening import read_app
from taskd.execution.task_app import DeclaringApp
from taskd.host import stacks
from taskd.program.bond import die_with_supervisor
from taskd.protocol.trial import PeriodicTask, TrialFacts, line_of

#: How the names begin of tasks that every app has.
_OURS = ("taskd.", "celery.")


def main() -> None:
    """Print what there is, or what failed; leave without waiting for threads of the user's."""
    die_with_supervisor()
    stacks.write_at_a_crash()
    path, table, directory = sys.argv[1:4]
    status = exit_codes.OK
    try:
        app = read_app(path, table, directory)
    except BaseException as error:  # noqa: BLE001 - whatever the user's module raises is what is asked for
        reason, detail = failure_of(error)
        sys.stdout.write(f"{reason}\n{with_remedy(detail, path)}")
        status = exit_codes.APP_BROKEN
    else:
        own = [name for name in app.tasks() if not name.startswith(_OURS)]
        found = app.findings(transfer.from_environment(), table)
        lines = [f"{'refused' if each.is_refused else 'warning'}: {each}" for each in found]
        sys.stdout.write("\n  ".join([f"{path} has {counted(len(own), 'task')}", *lines]))
        sys.stdout.write("\n" + line_of(_facts(app, own)))
        if any(each.is_refused for each in found):
            status = exit_codes.APP_BROKEN
    sys.stdout.write("\n")
    sys.stdout.flush()
    os._exit(status)


def _facts(app: DeclaringApp, own: Collection[str]) -> TrialFacts:
    """Return what the app has; its entries are left out where its code raises."""
    entries: list[PeriodicTask] = []
    try:
        reading = app.entries()
        entries += [PeriodicTask(name, each.task, each.queue) for name, each in reading.entries.items()]
    except Exception:  # noqa: BLE001 - the barrier of entries: users wrote them, and beat tells why
        entries = []
    return TrialFacts({name: app.queue_of(name) if name in own else "" for name in app.tasks()}, entries)


if __name__ == "__main__":
    main()
