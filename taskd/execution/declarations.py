"""``python -m taskd.execution.declarations APP``: tells beat the entries that the code of an app declares.

A process of its own: beat never imports what users wrote, and forgets none of it.  One JSON document
goes to the standard output as it was at the start; output of the user's modules goes to the log.
"""

from __future__ import annotations

import os
import sys

import msgspec

from taskd.execution.opening import read_app
from taskd.program.bond import die_with_supervisor


def main() -> None:
    """Print the entries and the names of the tasks; leave without waiting for threads of the user's."""
    die_with_supervisor()
    answer_fd = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    app = read_app(sys.argv[1])
    with os.fdopen(answer_fd, "wb") as answer:
        answer.write(msgspec.json.encode({"entries": app.entries(), "tasks": app.tasks()}))
    os._exit(0)


if __name__ == "__main__":
    main()
