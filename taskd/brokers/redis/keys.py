"""Every key that the broker touches, and what it holds.

kombu's, shared with Celery (celery-wire: "kombu Redis transport"):

==============================  =======  ==========================================================
``QUEUE``, ``QUEUE\\x06\\x163``…  list     envelopes; pushed on the left, taken from the right; the plain name
                                         is priority step 0, which is served first
``_kombu.binding.EXCHANGE``     set      ``routing key\\x06\\x16pattern\\x06\\x16queue``
``/DB.EXCHANGE[/KEY]``          channel  messages of fanout exchanges, remote control and events
``unacked``                     hash     what Celery workers have claimed: tag -> JSON of ``[envelope,
                                         exchange, routing key]``
``unacked_index``               zset     those tags, scored by when the worker's clock says it claimed
``unacked_mutex``               string   there while a Celery worker restores what others left
==============================  =======  ==========================================================

Our own:

==============================  =======  ==========================================================
``taskd:owners``                hash     worker name -> its present generation
``taskd:leases``                zset     ``generation:name``, scored by when the lease ends
``taskd:claims:GENERATION``     hash     tag -> list it came from, NUL, envelope
``taskd:sequence``              integer  the last number given to a tag or a generation
``taskd:delayed:QUEUE``         zset     order stamp, priority step, envelope; scored by when it is due
``taskd:dead``                  hash     id -> dead letter (msgpack)
``taskd:dead:by-time``          zset     id, scored by when it died
``taskd:failed``                hash     id -> queue, NUL, size, NUL, letter of a failed task (msgpack)
``taskd:failed:by-time``        zset     id, scored by when it failed
``taskd:failed:totals``         hash     ``bytes`` -> of all of them, ``queue:QUEUE`` -> how many there are
``taskd:queues``                set      names of durable queues, for those who list them
``taskd:exchanges``             hash     exchange -> type, for those that taskd made
``taskd:once``                  zset     id of a message that is sent once, scored by when it was sent
``taskd:once:active``           set      those of the ids whose message is not over
``taskd:formats``               hash     format and lowest reader of these keys (``storage/redis/marked.py``)
==============================  =======  ==========================================================

A prefix (``[redis] key_prefix``, kombu's ``global_keyprefix``) stands before all keys and channels.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from taskd.storage.redis.marked import Marked, RedisFormats, RedisStep

#: kombu's emulation of priorities: each step is a list of its own, the first is served first.
STEPS = (0, 3, 6, 9)
SEPARATOR = "\x06\x16"

#: The format of our own keys; kombu decides that of its own.  A step never changes once a release has it.
FORMATS = RedisFormats("broker", (RedisStep(1, 1, ()),))


def step_of(priority: int) -> int:
    """Return the position in ``STEPS`` of the list to which a priority belongs."""
    return bisect(STEPS, max(0, min(9, priority))) - 1


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of all keys under one prefix, in one database."""

    prefix: str
    database: int

    def marked(self) -> Marked:
        """Return what says of which format the keys are."""
        return Marked(FORMATS, self.prefix)

    def queue(self, name: str, step: int = 0) -> str:
        """Return the list of a queue at one priority step (position in ``STEPS``)."""
        return f"{self.prefix}{name}{SEPARATOR}{STEPS[step]}" if step else f"{self.prefix}{name}"

    def lists(self, names: Sequence[str]) -> list[str]:
        """Return the lists of queues in the order in which they are served: by step, then by queue."""
        return [self.queue(name, step) for step in range(len(STEPS)) for name in names]

    def place(self, key: str) -> tuple[str, int]:
        """Return the queue and the step of a list."""
        name, _, priority = key[len(self.prefix) :].partition(SEPARATOR)
        return name, STEPS.index(int(priority)) if priority else 0

    def binding(self, exchange: str) -> str:
        """Return the set of an exchange's bindings."""
        return f"{self.prefix}_kombu.binding.{exchange}"

    def channel(self, exchange: str, routing_key: str = "") -> str:
        """Return the channel, or the pattern of channels, of a fanout exchange."""
        suffix = f"/{routing_key}" if routing_key else ""
        return f"{self.prefix}/{self.database}.{exchange}{suffix}"

    @property
    def unacked(self) -> str:
        """The claims of Celery workers."""
        return f"{self.prefix}unacked"

    @property
    def unacked_index(self) -> str:
        """When Celery workers claimed it."""
        return f"{self.prefix}unacked_index"

    @property
    def unacked_mutex(self) -> str:
        """There while a Celery worker restores."""
        return f"{self.prefix}unacked_mutex"

    def own(self, *words: str) -> str:
        """Return a key of our own."""
        return f"{self.prefix}taskd:{':'.join(words)}"

    @property
    def owners(self) -> str:
        """Worker name -> present generation."""
        return self.own("owners")

    @property
    def leases(self) -> str:
        """``generation:name`` by the end of its lease."""
        return self.own("leases")

    @property
    def sequence(self) -> str:
        """The last number given out."""
        return self.own("sequence")

    def claims(self, generation: str) -> str:
        """The claims of one generation."""
        return self.own("claims", generation)

    def delayed(self, queue: str) -> str:
        """The messages of a queue that are not due yet."""
        return self.own("delayed", queue)

    @property
    def dead(self) -> str:
        """Dead letters by id."""
        return self.own("dead")

    @property
    def dead_by_time(self) -> str:
        """Ids of dead letters by time of death."""
        return self.own("dead", "by-time")

    @property
    def failures(self) -> tuple[str, str, str]:
        """Letters of tasks that failed for good by id, their ids by time, and their totals."""
        return self.own("failed"), self.own("failed", "by-time"), self.own("failed", "totals")

    @property
    def queues(self) -> str:
        """Names of durable queues."""
        return self.own("queues")

    @property
    def exchanges(self) -> str:
        """Types of the exchanges that taskd made."""
        return self.own("exchanges")

    @property
    def once(self) -> str:
        """Ids of messages that are sent once."""
        return self.own("once")

    @property
    def active(self) -> str:
        """The ids of ``once`` whose message is not over."""
        return self.own("once", "active")
