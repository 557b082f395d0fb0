"""``python -m taskd.execution.declarations APP [SCHEDULER]``: tells beat the entries of an app.

A process of its own: beat never imports what users wrote, and forgets none of it.  One JSON document
goes to the standard output as it was at the start; output of the user's modules goes to the log.  Where the
app's schedule can change while beat runs, this process stays and tells of each change (``following``).
"""

from __future__ import annotations

import os
import sys

import msgspec

from taskd.base.program_signals import ignore_from_now_on
from taskd.execution.following import Following
from taskd.execution.opening import read_app
from taskd.program.bond import die_with_supervisor


def main() -> None:
    """Print the entries and the names of the tasks; leave without waiting for threads of the user's."""
    die_with_supervisor()
    answer_fd = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    order_fd = os.dup(sys.stdin.fileno())
    app = read_app(sys.argv[1])
    changing = app.changing(sys.argv[2] if len(sys.argv) > 2 else "")
    if changing is not None:
        ignore_from_now_on()  # a Ctrl-C reaches all of a terminal's processes; this one ends with beat
        Following(changing, app.tasks(), answer_fd=answer_fd, order_fd=order_fd).run()
        os._exit(0)
    reading = app.entries()
    told = {"entries": reading.entries, "tasks": app.tasks(), "problems": reading.problems}
    with os.fdopen(answer_fd, "wb") as answer:
        answer.write(msgspec.json.encode(told) + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main()
