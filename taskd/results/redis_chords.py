"""Chords on Redis, in the keys of Celery's Redis backend: workers of both kinds end one chord together.

For the group ``GID`` of a chord's header, below ``celery-taskset-meta-GID``:

=======  =======  ==================================================================================
``.j``   zset     ``[1, task id, state, result]`` of each part that has returned, scored by its place;
                  a list where Celery is told to keep no order
``.d``   set      ``task id:place`` of each, so that a part that is run twice counts once
``.s``   integer  how many parts end it
``.t``   integer  how many were added since
``.c``   text     the token of whoever sends the body now; ``done`` when it has been sent
(none)   JSON     the header's results as a tree, where a client has written it
=======  =======  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence

from taskd.config.stores import RedisConfig, Stores
from taskd.protocol.chord import Begun, ChordPart
from taskd.results.base import Counted
from taskd.storage.redis.address import address_of
from taskd.storage.redis.line import Argument
from taskd.storage.redis.link import RedisLink, Script

#: How long the claim of a worker that died sending a body keeps others from it.
_CLAIM_S = 5
#: How long it is remembered that the body was sent.
_DONE_S = 300
#: Keys without an expiry would stay for ever when a chord never ends.
_LONGEST_S = 86_400

_COUNT = Script(
    """
-- KEYS: .j .d .s .t .c and the tree.
-- ARGV: task id, place ('+inf' for none), value, seconds to live, token, seconds of a claim.
local parts, seen, size, added, claim, tree = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local holder = redis.call('GET', claim)
if holder == 'done' then return 'sent' end
local listed = redis.call('TYPE', parts).ok == 'list'
if redis.call('SADD', seen, ARGV[1] .. ':' .. ARGV[2]) == 1 then
  if listed then redis.call('RPUSH', parts, ARGV[3]) else redis.call('ZADD', parts, ARGV[2], ARGV[3]) end
end
for _, key in ipairs({parts, seen, size, added, tree}) do redis.call('EXPIRE', key, ARGV[4]) end
local wanted = redis.call('GET', size)
local count = listed and redis.call('LLEN', parts) or redis.call('ZCARD', parts)
if not wanted or count ~= tonumber(wanted) + tonumber(redis.call('GET', added) or 0) then return 'waits' end
if holder and holder ~= ARGV[5] then return 'claimed' end
redis.call('SET', claim, ARGV[5], 'EX', ARGV[6])
return 'complete'
"""
)

_FINISH = Script(
    """
-- KEYS: .c .j .d .s .t  ARGV: token, seconds to remember.
-- A claim that was taken over is left to whoever has it now.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
redis.call('SET', KEYS[1], 'done', 'EX', ARGV[2])
return 1
"""
)

_READ = Script(
    """
-- KEYS: .j
if redis.call('TYPE', KEYS[1]).ok == 'list' then return redis.call('LRANGE', KEYS[1], 0, -1) end
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""
)


class RedisChords:
    """``ChordStore`` over one connection.  For one thread."""

    def __init__(self, url: str, config: RedisConfig, expires_s: float) -> None:
        """Raises: ``StorageError`` for a URL that names no server; nothing is connected yet."""
        self._link = RedisLink(address_of(url, timeout_s=config.timeout, master=config.master))
        self._prefix = config.key_prefix
        self._expires_s = int(expires_s) or _LONGEST_S

    def _key(self, group: str, what: str = "") -> str:
        return f"{self._prefix}celery-taskset-meta-{group}{what}"

    def _keys(self, group: str, what: str) -> list[Argument]:
        return [self._key(group, f".{each}") for each in what]

    def begin(self, chord: Begun) -> None:
        """Note how many parts end a chord; one of the same group that has ended is forgotten."""
        size = ("SET", self._key(chord.group, ".s"), chord.size, "EX", self._expires_s)
        self._link.pipeline([("DEL", self._key(chord.group, ".c")), size])

    def add(self, group: str, count: int) -> None:
        """Note how many parts are added to a chord."""
        key = self._key(group, ".t")
        self._link.pipeline([("INCRBY", key, count), ("EXPIRE", key, self._expires_s)])

    def count(self, parts: Sequence[tuple[ChordPart, bytes]], token: str) -> Sequence[Counted]:
        """Count each part once."""
        commands = []
        for part, value in parts:
            place = "+inf" if part.index is None else part.index
            arguments = (part.task_id, place, value, self._expires_s, token, _CLAIM_S)
            commands.append(_COUNT.call([*self._keys(part.group, "jdstc"), self._key(part.group)], arguments))
        return [Counted(reply.decode()) for reply in self._link.pipeline(commands, (_COUNT,))]

    def values(self, group: str) -> Sequence[bytes]:
        """Return what was counted, in the order of the header."""
        values: list[bytes] = self._link.run(_READ, self._keys(group, "j"), ())
        return values

    def tree(self, group: str) -> bytes | None:
        """Return the tree of results that a client has written for a header with groups in it."""
        tree: bytes | None = self._link.call("GET", self._key(group))
        return tree

    def finish(self, group: str, token: str) -> None:
        """Forget a chord whose body has been sent."""
        self._link.run(_FINISH, self._keys(group, "cjdst"), (token, _DONE_S))

    def fail(self, group: str) -> None:
        """Let a failed chord never be complete again; results of its parts stay until they expire."""
        self._link.call("DEL", self._key(group, ".s"))

    def close(self) -> None:
        """Release the connection.  May be called twice."""
        self._link.close()


def open_chords(url: str, stores: Stores, expires_s: float) -> RedisChords:
    """Return what counts the parts of chords where the results of a URL are; nothing is connected yet."""
    return RedisChords(url, stores.redis, expires_s)
