"""A worker program over a ``FaultyLoop``: POOL BROKER RESULTS."""

from __future__ import annotations

import sys
import warnings


def main() -> None:
    pool, broker, results = sys.argv[1:]
    if pool == "gevent":
        from gevent import monkey

        monkey.patch_all()
    elif pool == "eventlet":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import eventlet

            eventlet.monkey_patch()

    from taskd.base import log
    from taskd.config.programs import WorkerConfig
    from taskd.config.schema import Config
    from taskd.program.bond import Reporter
    from taskd.worker import __main__ as worker
    from taskd.worker import foundations
    from taskd.worker.program import WorkerProgram
    from tests.component.barrier_app import APP
    from tests.component.once_failing_loop import FaultyLoop

    vars(foundations)["Loop"] = FaultyLoop
    log.setup("info", "plain", program="main-1")
    table = WorkerConfig(name="main", pool=pool, concurrency=2, rate_limits={"limited": "5/s"})
    config = Config(app=APP, broker=broker, results=results, workers={"main": table})
    sys.exit(worker.run(WorkerProgram("main-1", config, table), Reporter()))


if __name__ == "__main__":
    main()
