"""Takes changed settings over while the worker goes on: those for which it need not be replaced.

The supervisor appends the new configuration to the descriptor that the worker inherited, and sends
SIGHUP.  It does so only when all that the worker was built from (pool, queues, broker ...) is the same as
before, so what is read at the time of its use may simply be exchanged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from taskd.base.errors import ConfigError
from taskd.config.schema import Config
from taskd.consumer.context import Context
from taskd.worker.pools import PoolEvents

logger = logging.getLogger(__name__)


def reread(context: Context, events: PoolEvents, latest: Callable[[], Config]) -> None:
    """Exchange the configuration for the latest; one that cannot be read is logged and changes nothing."""
    try:
        config = latest()
    except ConfigError as error:
        logger.error("changed settings were not taken over: %s", error)
        return
    worker = config.workers.get(context.worker.name)
    if worker is None:
        return  # it is about to be told to leave
    events.set_log_level(config.log.level)
    context.config = config
    context.worker = replace(worker, lease=context.worker.lease)  # it may be longer than the file's
    changed = context.rates.configure(context.worker.rate_limits)
    events.warn_of_unknown(name for name in changed if name in context.worker.rate_limits)
    for name in changed:
        context.on_rate(name)
    logger.info("changed settings taken over")
