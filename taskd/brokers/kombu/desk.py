"""The operator's desk over kombu, as far as AMQP can tell.

AMQP tells how many messages of a queue nobody holds, and nothing of those that workers hold: claimed and
delayed messages are not counted.  Dead letters are read by taking all and giving all back.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from taskd.base.errors import ProtocolError
from taskd.brokers.desk import ALL_DEAD, DeadFilter, DeadLetter, DeadMessage, QueueInfo
from taskd.brokers.kombu import naming
from taskd.brokers.kombu.letters import MessageLetter, unfold
from taskd.brokers.kombu.publisher import KombuPublisher
from taskd.brokers.kombu.server import Server


class KombuDesk:
    """``Desk`` over one connection for each call.  Safe to share between threads."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._publisher = KombuPublisher(server)
        self._lock = threading.Lock()
        #: Dead letters that the present call has taken and is to give back.
        self._taken: set[int | str] = set()
        self.closed = False

    def _with_channel(self, work: Callable[[Any], Any]) -> Any:
        with self._lock:
            link = self._server.connect()
            self._taken.clear()
            try:
                with self._server.errors():
                    channel = link.channel()
                    done = work(channel)
                    for handle in self._taken:
                        channel.basic_reject(handle, requeue=True)
                    channel.close()  # messages that were only looked at are back when this returns
                    return done
            finally:
                link.close()

    def queues(self) -> Sequence[QueueInfo]:
        """Return the queues that taskd has used, by name; messages that workers hold are not counted."""

        def look(channel: Any) -> Sequence[QueueInfo]:
            naming.declare_queue(channel, self._server, naming.NAMES)
            dead = Counter(letter.delivery.queue for letter, _ in self._letters(channel))
            counts = [(name, naming.ready_count(channel, name)) for name in naming.registered(channel)]
            return [QueueInfo(name, ready, 0, 0, dead[name]) for name, ready in counts if ready is not None]

        found: Sequence[QueueInfo] = self._with_channel(look)
        return found

    def purge(self, queue: str) -> int:
        """Delete the messages of a queue that nobody holds; return how many."""

        def purge(channel: Any) -> int:
            if naming.ready_count(channel, queue) is None:
                return 0
            return int(channel.queue_purge(queue) or 0)

        return int(self._with_channel(purge))

    # -- dead letters ------------------------------------------------------------------------

    def _letters(self, channel: Any) -> Sequence[tuple[MessageLetter, int | str]]:
        """Take all dead letters, by time of death; they go back with the channel."""
        naming.declare_queue(channel, self._server, naming.DEAD)
        found = []
        while (raw := channel.basic_get(queue=naming.DEAD)) is not None:
            self._taken.add(raw.delivery_tag)
            try:
                found.append((unfold(raw.body), raw.delivery_tag))
            except ProtocolError:
                continue  # another program's message stays where it is
        return sorted(found, key=lambda entry: (entry[0].died_at, entry[0].id))

    def _read(self, which: DeadFilter) -> list[MessageLetter]:
        found: list[MessageLetter] = self._with_channel(
            lambda channel: [letter for letter, _ in self._letters(channel) if letter.passes(which)]
        )
        return found

    def dead_letters(self, which: DeadFilter = ALL_DEAD, limit: int = 100) -> Sequence[DeadLetter]:
        """Return up to ``limit`` dead letters, the newest first."""
        return [letter.shown() for letter in self._read(which)[::-1][:limit]]

    def dead_letter(self, letter_id: int) -> DeadMessage | None:
        """Return one dead letter with its evidence and message; None when there is none of this id."""
        found = self._read(DeadFilter(ids=(letter_id,)))
        return found[0].whole() if found else None

    def dead_ids(self, which: DeadFilter = ALL_DEAD) -> Sequence[int]:
        """Return the ids of dead letters, the oldest first."""
        return [letter.id for letter in self._read(which)]

    def requeue_dead(self, ids: Sequence[int]) -> int:
        """Send dead letters to their queues again; return how many.  A crash in between sends one twice."""
        return self._remove(ids, lambda letter: self._publisher.publish([letter.delivery.again()]))

    def purge_dead(self, ids: Sequence[int]) -> int:
        """Delete these dead letters; return how many there were."""
        return self._remove(ids, lambda _letter: None)

    def _remove(self, ids: Collection[int], before: Callable[[MessageLetter], None]) -> int:
        def remove(channel: Any) -> int:
            wanted = [entry for entry in self._letters(channel) if entry[0].id in ids]
            for letter, handle in wanted:
                before(letter)
                channel.basic_ack(handle)
                self._taken.discard(handle)
            return len(wanted)

        return int(self._with_channel(remove)) if ids else 0

    def close(self) -> None:
        """Release the connection."""
        self.closed = True
        self._publisher.close()
