"""The broker and the results of an App, opened when first used: by one thread, and split by no fork.

Opening imports modules; a child that was forked in the middle of an import by another thread would wait for
its end for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, TypeVar, cast

from taskd.base import forks
from taskd.base.errors import TaskdError
from taskd.brokers import factory as brokers
from taskd.brokers.base import Broker, Publisher
from taskd.brokers.desk import Desk
from taskd.config.kinds import BrokerCan, StoreCan
from taskd.config.schema import Config
from taskd.protocol import content
from taskd.results.base import ResultStore
from taskd.sending.configured import configuration
from taskd.sending.news import SenderNews
from taskd.sending.replies import open_results


class _Closeable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closeable)


class Connections:
    """The parts that are open with a configuration, which is read at the first use."""

    def __init__(
        self,
        path: str | None,
        broker: str | None,
        results_url: str | None,
        sent_events: bool | None = None,
    ) -> None:
        self._path = path
        self._sent_events = sent_events
        self._broker_url = broker
        self._results_url = results_url
        self._config: Config | None = None
        #: Whether results travel to who sent the task; kept, because each send asks.
        self._replies = False
        self._open: dict[str, _Closeable] = {}
        self._publisher: Publisher | None = None
        self._results: ResultStore | None = None
        self._news: SenderNews | None = None
        self._opening = forks.Section()

    def __reduce__(self) -> tuple[Callable[..., Connections], tuple[object, ...]]:
        """Pickle where to connect, without connections.  A bound configuration is read from its file."""
        path = self._path
        if path is None and self._broker_url is None and self._config is not None:
            path = self._config.path or None
        return _connections, (path, self._broker_url, self._results_url, self._sent_events)

    def __deepcopy__(self, _memo: object) -> Connections:
        """Return the same: copies of what uses it share what is open."""
        return self

    def bind(self, config: Config) -> None:
        """Use this configuration in place of everything else, as a worker does with its own."""
        self.close()
        self._use(config)

    @property
    def config(self) -> Config:
        """The configuration in use; read on first use.  Raises: ``ConfigError``."""
        if self._config is None:
            with self._opening:
                if self._config is None:
                    self._use(configuration(self._path, self._broker_url, self._results_url))
        return cast("Config", self._config)

    def _use(self, config: Config) -> None:
        """Make it the configuration in use, and its limits those of the process."""
        content.use(config.accept_content, config.max_message_size, config.max_message_containers)
        self._replies = BrokerCan.REPLY in config.result_kind.needs
        self._config = config

    def publisher(self) -> Publisher:
        """Return the publisher.  Raises: ``ConfigError``, ``BackendError``."""
        if self._publisher is None:
            self._publisher = self._kept("publisher", lambda: self._broker().publisher())
        return self._publisher

    def _broker(self) -> Broker:
        return self._kept("broker", lambda: brokers.connect(self.config.broker, self.config.stores))

    def desk(self) -> Desk:
        """Return an operator's view of the broker; close it.  Raises: ``ConfigError``, ``StorageError``."""
        return self._broker().desk()

    @property
    def keeps_results(self) -> bool:
        """Whether results are not switched off.  Raises: ``ConfigError``."""
        return StoreCan.KEEP in self.config.result_kind.can

    def results(self) -> ResultStore:
        """Return the result store.

        Raises: ``ConfigError``, ``StorageError``; ``TaskdError`` when results are switched off.
        """
        if self._results is None:
            if not self.keeps_results:
                raise TaskdError(
                    'results are switched off (results = "null://"), so nothing can be asked about a task; '
                    "set results in the configuration file or App(results=...)"
                )
            self._results = self._kept("results", lambda: open_results(self.config, self._broker()))
        return self._results

    def reply_to(self, *, ignored: bool) -> str:
        """Return the queue to which the result of a task is to be sent; empty where it is kept, or by nobody.

        Raises: ``StorageError``.
        """
        if ignored or not (self.config and self._replies):  # to read the first sets the second
            return ""
        return self.results().reply_to()

    @property
    def tells_of_sends(self) -> bool:
        """Whether monitors hear of each task that is sent.  Raises: ``ConfigError``."""
        return self.config.sent_events if self._sent_events is None else self._sent_events

    def news(self) -> SenderNews:
        """Return what sends events from here.  Raises: ``ConfigError``, ``BackendError``."""
        if self._news is None:
            self._news = self._kept("news", lambda: SenderNews(self._broker().event_sender))
        return self._news

    def _kept(self, name: str, make: Callable[[], T]) -> T:
        """Return what is open under this name; make it if nothing is."""
        with self._opening:
            if name not in self._open:
                self._open[name] = make()
            return cast("T", self._open[name])

    def close(self) -> None:
        """Close what is open; the next use opens again."""
        self._publisher = None
        self._results = None
        self._news = None
        while self._open:  # users of the broker were opened after it
            self._open.popitem()[1].close()


@cache
def _connections(*where: Any) -> Connections:
    """Return the connections of all that was unpickled with the same addresses."""
    return Connections(*where)
