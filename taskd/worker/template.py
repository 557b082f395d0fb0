"""The template program: imports the user's code once, then forks the pool's children.

Started by the prefork pool as ``python -m taskd.worker.template PROGRAM NODE APP TABLE``.  It opens no
connection and starts no thread; the forking itself is ``taskd.pools.prefork.template``.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import msgspec

from taskd.app.app import App
from taskd.app.life_hooks import HookPlace, Stage
from taskd.base import log, log_level
from taskd.config import transfer
from taskd.execution.ledger import inherited_ledger
from taskd.execution.native.execute import Executor
from taskd.execution.native.loading import load_app, task_table
from taskd.pools.base import Target
from taskd.pools.prefork.template import inherited_control, serve
from taskd.protocol.content import accepted_by
from taskd.worker.stages import register


def main() -> None:
    """Run until the worker closes the control socket."""
    control = inherited_control()
    program, node_name, path, table = sys.argv[1:5]
    config = transfer.from_environment()
    log.setup(config.log.level, config.log.format, program=program)

    level = log_level.inherited()
    ledger = inherited_ledger()

    apps: list[App] = []

    def load() -> tuple[Target, bytes]:
        app = load_app(path, table, config.workers[table].directory)
        app.bind_config(config)
        register(app, node_name)
        apps.append(app)
        executor = Executor(app, node_name, ledger=ledger, accepted=accepted_by(config.accept_content))

        def execute(payload: bytes) -> bytes:
            level.follow()
            return executor(payload)

        return execute, msgspec.json.encode(task_table(app))

    def run_stage(stage: Stage) -> None:
        apps[0].hooks.run_stage(stage, HookPlace(node_name, os.getpid()))

    def born(number: int) -> None:
        if ledger is not None:
            ledger.take_slot(number)

    begin = partial(run_stage, Stage.PROCESS_INIT)
    end = partial(run_stage, Stage.PROCESS_SHUTDOWN)
    serve(control, load, begin, end, born)


if __name__ == "__main__":
    main()
