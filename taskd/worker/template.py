"""The template program: imports the user's code once, then forks the pool's children.

Started by the prefork pool as ``python -m taskd.worker.template NODE APP``.  It opens no connection
and starts no thread; the forking itself is ``taskd.pools.prefork.template``.
"""

from __future__ import annotations

import sys

import msgspec

from taskd import log
from taskd.config import transfer
from taskd.pools.base import Target
from taskd.pools.prefork.template import inherited_control, serve
from taskd.worker.execute import Executor, load_app, task_table


def main() -> None:
    """Run until the worker closes the control socket."""
    control = inherited_control()
    node_name, path = sys.argv[1], sys.argv[2]
    config = transfer.from_environment()
    log.setup(config.log.level, config.log.format, program=node_name)

    def load() -> tuple[Target, bytes]:
        app = load_app(path)
        app.bind_config(config)
        return Executor(app, node_name), msgspec.json.encode(task_table(app))

    serve(control, load)


if __name__ == "__main__":
    main()
