"""Records that say what each kind of broker, store and pool is called, needs and can do.

The code asks the record, never a scheme or a pool's name.  ``built_in`` has taskd's own,
``choosing`` finds the one that a configuration means.  A capability is written down here once; the contract
suites hold every kind to what its record says.

Texts of the form ``package.module:function`` name what is imported when the kind is chosen, and never before.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from taskd.base.errors import ConfigError
from taskd.base.named import named


class KindError(ConfigError):
    """No kind is called so, or the one that is cannot be used here; the message says what to do."""


class BrokerCan(Enum):
    """Capabilities of brokers, each in the words of the documentation."""

    SPAN_PROCESSES = "processes share it"
    SPAN_HOSTS = "hosts share it"
    DELAY = "messages that are not due wait in the broker"
    ADVANCE = "delayed messages can be made due"
    ONCE = "a second message with the same id is refused"
    CARRY_RESULTS = "settlements and results of one server are one step"
    REPLY = "results travel to whoever sent the task"
    REPORT = "a queue is looked at without a new connection"
    LEASES = "leases end by the clock, and a former generation is fenced off"
    RETURNS = "a message that is returned unstarted counts no delivery"
    PLACES = "a message that failed keeps its place"
    ORDER = "order is strict over claims"
    HEADERS = "headers come back byte for byte"
    COUNTS = "claimed and delayed messages are counted"
    WAKES = "wake-ups are exact"
    PRIORITIES = "urgent messages come first"
    EXCHANGES = "exchanges of all types"
    FIFO = "messages of a queue come in the order of sending"
    BINDINGS = "bindings are shared"
    LISTENERS = "whether anybody listens to events is known"
    KEEP_FAILURES = "messages of tasks that failed for good are kept for a time"


class StoreCan(Enum):
    """Capabilities of result stores, each in the words of the documentation."""

    KEEP = "results are not thrown away"
    ANSWER = "every process can ask for every result"
    SPAN_PROCESSES = "processes share it"
    GO_ALONG = "a broker on the same server can write its records"


class PoolTrait(Enum):
    """Properties of pools, each in the words of the documentation."""

    CHILDREN = "tasks run in child processes"
    RESIZABLE = "the number of slots can follow the load"
    SILENT = "the worker neither listens nor reports while a task runs"
    IN_LOOP = "tasks run in an asyncio loop, where no Celery app runs"
    IN_PLACE = "a worker is replaced in its place, never beside itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Has the fields that all kinds have in common."""

    #: For people: in errors and in the documentation.
    name: str
    #: Opens one; the docstring of each kind says how it is called.
    opener: str
    #: Modules that must be importable, beside what taskd always has.
    libraries: tuple[str, ...] = ()
    #: Packages that bring them, for ``pip install``.
    extras: tuple[str, ...] = ()

    @property
    def remedy(self) -> str:
        """The command that installs what the kind needs; empty where it needs nothing."""
        return f"pip install {' '.join(map(_quoted, self.extras))}" if self.extras else ""

    def load(self, path: str) -> object:
        """Import what the record names.  Raises: ``KindError`` where that is not installed."""
        try:
            return named(path)
        except ModuleNotFoundError as error:
            how = f": {self.remedy}" if self.remedy else ""
            raise KindError(f"{error.name} is not installed, which {self.name} needs{how}") from error
        except AttributeError as error:
            raise KindError(f"{self.name} names {path}, which does not exist: {error}") from error


def _quoted(text: str) -> str:
    return f'"{text}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerKind(_Kind):
    """A kind of broker.  ``opener``: ``(url, Stores) -> Broker``."""

    schemes: tuple[str, ...]
    can: frozenset[BrokerCan]
    #: Keeps what is revoked beside the messages: ``(broker_url, Stores) -> State``; empty where nothing does.
    revocations: str = ""
    #: For clients that speak kombu: ``(url, Stores) -> kombu.Connection``; empty for a broker without one.
    client: str = ""
    #: For ``taskctl store``: ``(url, Stores) -> Upkeep``, of the messages and of the revocations.
    upkeep: str = ""
    revocations_upkeep: str = ""
    #: The priority that is served first.
    most_urgent: int = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreKind(_Kind):
    """A kind of store.  ``opener``: ``(url, Stores, Post | None) -> ResultStore`` for results.

    Of beat's stores: ``(Config, Timing | None, listens) -> Store``.
    """

    schemes: tuple[str, ...]
    can: frozenset[StoreCan] = frozenset()
    #: Without these of the broker it does not work.
    needs: frozenset[BrokerCan] = frozenset()
    #: For ``taskctl store``: ``(url, Stores) -> Upkeep``; empty where taskd keeps nothing of its own.
    upkeep: str = ""
    #: Counts the parts of chords: ``(url, Stores, expires_s) -> ChordStore``; empty where nothing does.
    chords: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolKind(_Kind):
    """A kind of pool, by the name that ``pool`` has in the file.

    ``opener``: ``(capacity, Work, on_ready) -> Pool``; one with children gets ``Children``, not ``Work``.
    """

    traits: frozenset[PoolTrait] = frozenset()
    #: The program of its workers; one of its own has what must be patched before anything else is imported.
    entry: str = "taskd.worker"
    #: Means ``concurrency = 0``; 0 is one for each processor.
    default_slots: int = 0
    #: It never has more; 0 is as many as the file says.
    most_slots: int = 0
