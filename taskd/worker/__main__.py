"""``python -m taskd.worker NAME``: one worker program, started by the supervisor."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

from taskd.base import exit_codes, log
from taskd.base.blueprint import Blueprint
from taskd.base.errors import ConfigError, TaskdError
from taskd.base.ids import node_name
from taskd.base.lifecycle import Deadline
from taskd.base.program_signals import asked_to_end, ignore_from_now_on
from taskd.base.safe_text import Block
from taskd.config import transfer
from taskd.config.programs import WorkerConfig
from taskd.config.schema import Config
from taskd.consumer.orders import Fatal
from taskd.host.proctitle import set_title
from taskd.program.bond import Reporter, die_with_supervisor, show_stacks
from taskd.protocol import content
from taskd.worker.autoscale import Autoscaler
from taskd.worker.consumer_step import ConsumerStep
from taskd.worker.foundations import Configuration, Facts, MomentsStep, Timer
from taskd.worker.ledger import LedgerStep
from taskd.worker.policies import Limits
from taskd.worker.pool_step import PoolStep
from taskd.worker.pools import AppImportError
from taskd.worker.program import WorkerProgram
from taskd.worker.reporting import Report
from taskd.worker.rereading import Rereading
from taskd.worker.signals import Hub
from taskd.worker.stores import Queues, StateDB

logger = logging.getLogger(__name__)

_STOP_GRACE_S = 5.0


def worker_of(config: Config, program: str, table: str) -> WorkerConfig:
    """Return the [worker.TABLE] of a program.  Raises ``ConfigError`` when the file has none."""
    worker = config.workers.get(table)
    if worker is None:
        raise ConfigError(f'program "{program}" belongs to [worker.{table}], which the configuration lacks')
    return worker


def run(program: WorkerProgram, reporter: Reporter) -> int:
    """Run one worker to its end; return its exit status, having told the supervisor why if not 0."""
    blueprint = Blueprint(
        "Worker",
        [
            Timer(),
            MomentsStep(),
            Facts(program),
            Configuration(program),
            LedgerStep(program),
            Hub(),
            Report(reporter),
            PoolStep(program),
            Queues(program),
            Autoscaler(program),
            StateDB(program),
            Limits(),
            Rereading(program),
            ConsumerStep(program),
        ],
    )
    fatal: Fatal | None = None
    try:
        fatal = blueprint.start()[ConsumerStep]
    except AppImportError as error:
        fatal = Fatal(exit_codes.APP_BROKEN, error.reason, error.detail)
    except ConfigError as error:
        fatal = Fatal(exit_codes.CONFIG, str(error))
    except TaskdError as error:
        fatal = Fatal(exit_codes.FAILURE, str(error))
    finally:
        blueprint.stop(Deadline.after(_STOP_GRACE_S))
    if fatal is None:
        return exit_codes.OK
    logger.error("%s%s", fatal.reason, Block(f"\n{fatal.detail}" if fatal.detail else ""))
    reporter.last_words(fatal.reason, fatal.detail)
    return fatal.exit_code


def lacks(library: str) -> NoReturn:
    """End a worker whose pool needs a library that is not installed."""
    reason = f'pool "{library}" needs {library}, which is not installed: pip install "taskd[{library}]"'
    sys.stderr.write(f"{reason}\n")
    Reporter().last_words(reason, "")
    sys.exit(exit_codes.CONFIG)


def main() -> None:
    """Run the worker that the command line and the inherited configuration name."""
    name = sys.argv[1]
    die_with_supervisor()
    show_stacks()
    try:
        inherited = transfer.Inherited()
        config = inherited.config
        table = os.environ.pop("TASKD_WORKER", name.rpartition("-")[0] or name)
        worker = worker_of(config, name, table)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(exit_codes.CONFIG)
    content.use(config.accept_content, config.max_message_size, config.max_message_containers)
    log.setup(config.log.level, config.log.format, program=node_name(name))
    set_title(f"worker {node_name(name)} [{worker.pool} {worker.concurrency or 'auto'}]")
    if asked_to_end():  # why import the task code first, which may take its time
        sys.exit(exit_codes.OK)
    try:
        status = run(WorkerProgram(name, config, worker, inherited.latest), Reporter())
    finally:
        ignore_from_now_on()
    sys.exit(status)


if __name__ == "__main__":
    main()
