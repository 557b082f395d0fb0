"""The reports of a worker's pool: its task table, deaths of children, failures to load."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import msgspec

from taskd.base import clock
from taskd.base.exit_codes import APP_BROKEN
from taskd.base.nearest import nearest
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.orders import Fatal, Orders
from taskd.consumer.request import WorkerRequest
from taskd.consumer.running.obituaries import obituary
from taskd.consumer.running.work import AppNeeds
from taskd.pools.base import ChildEnd
from taskd.protocol.status import StatusLine
from taskd.sending.app_table import AppTable
from taskd.sending.options import TaskOptions

logger = logging.getLogger(__name__)


class PoolEvents:
    """Hears of one pool.  For the loop's thread."""

    def __init__(self, live: LiveConfig, orders: Orders, report: Callable[[StatusLine], None]) -> None:
        self._live = live
        self._orders = orders
        self._report = report
        #: The tasks that the app has, by name.
        self.tasks: dict[str, TaskOptions] = {}
        #: The wishes of the app for ends that the worker decides.
        self.needs = AppNeeds()
        #: The tasks in the pool, by tag.
        self.requests: dict[int, WorkerRequest] = {}

    def on_hello(self, blob: bytes) -> None:
        """Take the task table of the app that was loaded."""
        table = msgspec.json.decode(blob, type=AppTable)
        for options in table.tasks:
            self.tasks[options.name] = options
        self.needs.answers = table.answers
        self.needs.hears_ends = table.hears_ends
        self.needs.settings = table.settings
        self.needs.software = table.software
        logger.info("tasks=%d registered", len(self.tasks))
        for refusal in table.refusals:
            logger.error("%s", refusal)
        for warning in table.warnings:
            logger.warning("%s", warning)
        self.warn_of_unknown(self._live.worker.rate_limits)

    def warn_of_unknown(self, limited: Iterable[str]) -> None:
        """Say which of the tasks that the configuration limits this worker does not have."""
        for name in [name for name in limited if name not in self.tasks]:
            hint = nearest(name, self.tasks)
            remedy = f', did you mean "{hint}"?' if hint else ""
            logger.warning('rate_limits: this worker has no task "%s"%s', name, remedy)

    def on_ready(self) -> None:
        """Note it; the event loop looks at ``pool.ready`` each turn and begins to claim."""
        logger.info("pool ready")

    def on_failed(self, reason: str, detail: str) -> None:
        """The user's code did not import, or the template cannot fork: this worker can do nothing."""
        self._orders.end_by(Fatal(APP_BROKEN, reason, detail))

    def on_death(self, end: ChildEnd) -> None:
        """A process of the pool died: the supervisor keeps the evidence.  Comes before the task's outcome."""
        request = None if end.outcome is None else self.requests.get(end.outcome.tag)
        self._report(obituary(end, request, self._live.worker.max_deaths, clock.monotonic()))
