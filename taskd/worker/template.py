"""The template program: imports the user's code once, then forks the pool's children.

Started by the prefork pool as ``python -m taskd.worker.template PROGRAM NODE APP TABLE``.  It opens no
connection and starts no thread; the forking itself is ``taskd.pools.prefork.template``.
"""

from __future__ import annotations

import sys

import msgspec

from taskd.app.life_hooks import Stage
from taskd.base import log, log_level
from taskd.config import transfer
from taskd.execution.ledger import inherited_ledger
from taskd.execution.opening import open_app
from taskd.execution.task_app import TaskApp, Workplace
from taskd.pools.base import Target
from taskd.pools.prefork.template import inherited_control, serve


def main() -> None:
    """Run until the worker closes the control socket."""
    control = inherited_control()
    program, node_name, path, table = sys.argv[1:5]
    config = transfer.from_environment()
    log.setup(config.log.level, config.log.format, program=program)

    level = log_level.inherited()
    ledger = inherited_ledger()
    workplace = Workplace(config, table, node_name, has_children=True, ledger=ledger)

    apps: list[TaskApp] = []

    def load() -> tuple[Target, bytes]:
        app = open_app(path, workplace)
        apps.append(app)
        target = app.blocking()

        def execute(payload: bytes) -> bytes:
            level.follow()
            return target(payload)

        return execute, msgspec.json.encode(app.table())

    def begin() -> None:
        apps[-1].run_stage(Stage.PROCESS_INIT)

    def end() -> None:
        apps[-1].run_stage(Stage.PROCESS_SHUTDOWN)

    def born(number: int) -> None:
        if ledger is not None:
            ledger.take_slot(number)

    def rehearse() -> None:
        apps[-1].rehearse()

    serve(control, load, begin, end, born, soft_limit=lambda: apps[-1].soft_limit, rehearse=rehearse)


if __name__ == "__main__":
    main()
