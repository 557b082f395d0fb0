"""Beat's store on Redis: one lease and one history for the beats of all hosts.

Leases are judged by the server's clock.  A beat listens on a channel of its own, so that another one of the
same machine sees at once that it has died.  One of another machine may only be out of reach, and is succeeded
when its lease has ended.

==========================  =====  ==============================================================
``taskd:beat``              hash   revision, lease (term, holder, until, boot), counters, ``declared``
``taskd:beat:entries``      hash   name -> JSON: revision, text of the entry or none, who and when
``taskd:beat:pauses``       hash   name -> JSON: revision, since, to or none, who
``taskd:beat:requests``     hash   number -> JSON: name, who and when
``taskd:beat:marks``        hash   name -> mark (msgpack)
``taskd:beat:history:NAME`` list   the latest decisions of an entry, each 16 digits of order and msgpack
``taskd:beat:latest``       zset   names by the order of their latest decision
``taskd:beat:wake``, …      channels of wake-ups, and of each living beat
==========================  =====  ==============================================================
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from uuid import uuid4

import msgspec

from taskd.base import clock
from taskd.base.errors import LeaseLostError
from taskd.beat.entries import Pause, decode_entry, encode_entry
from taskd.beat.stores import redis_scripts as scripts
from taskd.beat.stores.base import Decision, Declared, Leadership, Mark, RunRequest, StoreChanges
from taskd.brokers.timing import Timing, boot_id
from taskd.config.schedule import BeatEntryConfig
from taskd.config.schema import Config
from taskd.config.stores import RedisConfig, Stores
from taskd.storage.redis.address import address_of
from taskd.storage.redis.line import Argument
from taskd.storage.redis.link import RedisLink
from taskd.storage.redis.marked import Marked, RedisFormats, RedisStep
from taskd.storage.redis.subscription import Subscription
from taskd.storage.redis.upkeep import KeysUpkeep

_ORDER_DIGITS = 16
#: A step never changes once a release has it.
FORMATS = RedisFormats("beat", (RedisStep(1, 1, ()),))


class _Entry(msgspec.Struct):
    revision: int
    text: str | None = None


class _Pause(msgspec.Struct):
    revision: int
    since: str
    by: str
    to: str | None = None


class _Asked(msgspec.Struct):
    name: str
    at: float
    by: str


_encode_json = msgspec.json.Encoder().encode
_entry = msgspec.json.Decoder(_Entry).decode
_pause = msgspec.json.Decoder(_Pause).decode
_asked = msgspec.json.Decoder(_Asked).decode
_encode = msgspec.msgpack.Encoder().encode
_mark = msgspec.msgpack.Decoder(Mark).decode
_decision = msgspec.msgpack.Decoder(Decision).decode


class RedisStore:
    """``Store`` over one database.  ``timing`` is None but in tests: the server's clock decides."""

    def __init__(
        self,
        url: str,
        config: RedisConfig,
        history: int,
        timing: Timing | None = None,
        *,
        listens: bool = True,
    ) -> None:
        """Connect; ``listens`` off is for operators.  Raises: ``StorageError``."""
        address = address_of(url, timeout_s=config.timeout, master=config.master)
        self._base = f"{config.key_prefix}taskd:beat"
        self._history = max(history, 1)
        self._timing = timing
        self._holder = uuid4().hex
        self._wake = self._key("wake")
        self._link = RedisLink(address, Marked(FORMATS, config.key_prefix))
        self._subscription: Subscription | None = None
        if listens:
            self._subscription = Subscription(address, channels=(self._wake, self._alive(self._holder)))
        self._link.call("PING")

    def _key(self, *words: str) -> str:
        return ":".join((self._base, *words))

    def _alive(self, holder: str) -> str:
        return self._key("alive", holder)

    # -- for operators ---------------------------------------------------------------------------

    def put(self, entry: BeatEntryConfig, by: str) -> None:
        """Add an entry, or replace the one of its name."""
        self._change("entries", "put", entry.name, by, self._now(), encode_entry(entry))

    def remove(self, name: str, by: str) -> bool:
        """Remove an entry that was added; False when there is none."""
        return self._change("entries", "remove", name, by, self._now())

    def _now(self) -> float:
        return clock.now() if self._timing is None else self._timing.now()

    def pause(self, name: str, by: str, at: float) -> None:
        """Keep the entries of this name from firing."""
        self._change("pauses", "pause", name, by, at)

    def resume(self, name: str, by: str, at: float) -> bool:
        """Let them fire again; False when they were not paused."""
        return self._change("pauses", "resume", name, by, at)

    def _change(self, key: str, verb: str, name: str, by: str, at: float, *text: bytes) -> bool:
        arguments: tuple[Argument, ...] = (verb, name, by, f"{at:.6f}", self._wake, *text)
        return bool(self._link.run(scripts.CHANGE, (self._base, self._key(key)), arguments))

    def request(self, name: str, by: str, at: float) -> int:
        """Ask for a run now; return the number of the request."""
        text = _encode_json(_Asked(name, at, by))
        keys = (self._base, self._key("requests"))
        return int(self._link.run(scripts.REQUEST, keys, (text, self._wake)))

    def history(self, name: str | None, limit: int) -> Sequence[Decision]:
        """Return the latest decisions, the latest first."""
        names = [name]
        if name is None:
            # An entry with one of the latest decisions is among those with the latest last one.
            latest = self._link.call("ZREVRANGE", self._key("latest"), 0, limit - 1)
            names = [each.decode() for each in latest]
        commands = [("LRANGE", self._key("history", str(each)), 0, limit - 1) for each in names]
        rows = [row for reply in self._link.pipeline(commands) for row in reply] if commands else []
        return [_decision(row[_ORDER_DIGITS:]) for row in sorted(rows, reverse=True)[:limit]]

    def declared(self) -> Declared:
        """Return what a beat last learned from the app's code."""
        text = self._link.call("HGET", self._base, "declared")
        return Declared() if text is None else msgspec.json.decode(text, type=Declared)

    # -- for beats -------------------------------------------------------------------------------

    def changes(self, since: int) -> StoreChanges:
        """Return what changed after a revision; 0 is everything."""
        hashes = [("HGETALL", self._key(each)) for each in ("entries", "pauses", "requests")]
        revision = ("HGET", self._base, "revision")
        replies = self._link.pipeline([("MULTI",), revision, *hashes, ("EXEC",)])[-1]
        now, *pairs = replies
        all_entries, all_pauses, all_requests = (
            dict(zip(map(bytes.decode, each[::2]), each[1::2], strict=True)) for each in pairs
        )
        entries: dict[str, BeatEntryConfig | None] = {}
        unreadable: dict[str, str] = {}
        for name, text in all_entries.items():
            try:
                row = _entry(text)
                if row.revision <= since:
                    continue
                entries[name] = None if row.text is None else decode_entry(row.text.encode())
            except (ValueError, RecursionError) as error:
                unreadable[name] = str(error)
        pauses = {name: each for name, text in all_pauses.items() if (each := _pause(text)).revision > since}
        asked = [(int(number), _asked(all_requests[number])) for number in sorted(all_requests, key=int)]
        return StoreChanges(
            int(now or 0),
            entries,
            {
                name: Pause(float(each.since), None if each.to is None else float(each.to), each.by)
                for name, each in pauses.items()
            },
            [RunRequest(number, each.name, each.at, each.by) for number, each in asked],
            unreadable,
        )

    def revision(self) -> int:
        """Return the revision of the latest change."""
        return int(self._link.call("HGET", self._base, "revision") or 0)

    def declare(self, declared: Declared) -> None:
        """Keep what was learned from the app's code."""
        self._link.call("HSET", self._base, "declared", _encode_json(declared))

    def lead(self, lease_s: float, *, succeed: bool) -> Leadership:
        """Take or extend the lease if nobody else holds it."""
        self._link.check_format()
        monotonic = clock.monotonic if self._timing is None else self._timing.monotonic
        before = monotonic()
        answer = self._lead(lease_s, "", succeed=succeed)
        holder = answer[1].decode()
        if holder != self._holder and self._is_dead(holder, answer[3].decode()):
            before = monotonic()
            answer = self._lead(lease_s, holder, succeed=succeed)
            holder = answer[1].decode()
        # Ours ends rather too soon on this host's clock, another's too late.
        since = before if holder == self._holder else monotonic()
        return Leadership(int(answer[0]), holder, since + float(answer[2]), is_mine=holder == self._holder)

    def _lead(self, lease_s: float, dead: str, *, succeed: bool) -> Sequence[bytes]:
        now = "" if self._timing is None else f"{self._timing.monotonic():.6f}"
        arguments = (self._holder, self._boot, lease_s, int(succeed), dead, now)
        return self._link.run(scripts.LEAD, (self._base,), arguments)  # type: ignore[no-any-return]

    @property
    def _boot(self) -> str:
        return boot_id() if self._timing is None else self._timing.boot()

    def _is_dead(self, holder: str, boot: str) -> bool:
        """Whether a beat of this machine has let go of its channel, which only its end does."""
        if not boot or boot != self._boot:
            return False
        return int(self._link.call("PUBSUB", "NUMSUB", self._alive(holder))[1]) == 0

    def resign(self) -> None:
        """End the lease if it is held here, and wake the others."""
        self._link.run(scripts.RESIGN, (self._base,), (self._holder, self._wake))

    def marks(self, names: Collection[str] | None = None) -> Iterable[Mark]:
        """Return the marks of these entries, None for all."""
        if names is None:
            found = self._link.call("HVALS", self._key("marks"))
        else:
            found = self._link.call("HMGET", self._key("marks"), *names) if names else []
        return [_mark(each) for each in found if each is not None]

    def record(
        self, term: int, marks: Sequence[Mark], decisions: Sequence[Decision], done: Collection[int] = ()
    ) -> None:
        """Write marks and decisions in one step, if the term is still the latest."""
        keys = [self._base, self._key("marks"), self._key("requests"), self._key("latest")]
        arguments: list[Argument] = [term, self._history, len(marks)]
        for mark in marks:
            arguments += (mark.name, _encode(mark))
        arguments.append(len(decisions))
        for decision in decisions:
            history = self._key("history", decision.name)
            if history not in keys[4:]:
                keys.append(history)
            arguments += (5 + keys[4:].index(history), decision.name, _encode(replace(decision, term=term)))
        latest = int(self._link.run(scripts.RECORD, keys, (*arguments, *done)))
        if latest != term:
            raise LeaseLostError(f"term {term} of beat is over, {latest} has begun; nothing was recorded")

    def fileno(self) -> int:
        """Return a descriptor that is readable when operators may have changed something."""
        return -1 if self._subscription is None else self._subscription.fileno()

    def clear_wakeups(self) -> None:
        """Make ``fileno`` unreadable until something new happens."""
        if self._subscription is not None:
            self._subscription.receive()

    def close(self) -> None:
        """Release the connections, but not the lease.  May be called twice."""
        if self._subscription is not None:
            self._subscription.close()
        self._link.close()


def open_store(url: str, config: Config, timing: Timing | None, listens: bool) -> RedisStore:
    """Connect.  Raises: ``StorageError``."""
    return RedisStore(url, config.redis, config.beat.history, timing, listens=listens)


def open_upkeep(url: str, stores: Stores) -> KeysUpkeep:
    """Return the keys of a URL for ``taskctl store``; nothing is connected yet."""
    config = stores.redis
    address = address_of(url, timeout_s=config.timeout, master=config.master)
    return KeysUpkeep(address, Marked(FORMATS, config.key_prefix))
