"""The mark that says of which format a room's keys are, and the steps that bring them up.

The hash ``taskd:formats`` below the prefix holds, for each room, its lowest reader and its format (``ROOM``
and ``ROOM.format``).  Keys without a mark are of format 1, that of the first release.  Every connection
looks at the mark when it is opened, so a process that has lost its server learns what happened meanwhile.

A breaking step renames the keys that it changes.  On Redis that alone keeps nobody of the former release from
writing the old ones: what publishes there still has to be found by the new release.  A script that fails in
its middle is not taken back, so a step looks before it changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from taskd.base.errors import NewerFormatError
from taskd.base.formats import FormatMark, Formats, FormatStep
from taskd.storage.redis.line import Command, Reply

#: Lua; ``prefix`` is the text before all keys.
RedisFormats = Formats[str]
RedisStep = FormatStep[str]

UNMARKED = FormatMark(1, 1)
_HASH = "taskd:formats"
_FORMAT = ".format"
_STEP = """
-- KEYS: the hash of marks.  ARGV: room, format before, format and lowest reader afterwards, prefix.
local room, prefix = ARGV[1], ARGV[5]
local found = redis.call('HGET', KEYS[1], room .. '.format') or '1'
if found ~= ARGV[2] then return 0 end
{changes}
redis.call('HSET', KEYS[1], room, ARGV[4], room .. '.format', ARGV[3])
return 1
"""

Ask = Callable[[Sequence[Command]], list[Reply]]


class Marked:
    """The keys of one room below one prefix."""

    def __init__(self, formats: RedisFormats, prefix: str) -> None:
        self.formats = formats
        self.prefix = prefix
        self._hash = f"{prefix}{_HASH}"

    def bring_up(self, ask: Ask, server: str) -> FormatMark:
        """Make the steps that are due, each in one script; return the mark.

        Raises: ``NewerFormatError`` for what only a newer taskd can read, and what ``ask`` raises.
        """
        while True:
            found = self.check(ask, server)
            due = self.formats.due(found)
            if not due:
                return found
            step = due[0]
            changes = "\n".join(f"do\n{change}\nend" for change in step.changes)
            words = (self.formats.room, found.format, step.format, step.lowest_reader, self.prefix)
            (reply,) = ask([("EVAL", _STEP.replace("{changes}", changes), 1, self._hash, *words)])
            if isinstance(reply, Exception):
                raise reply

    def check(self, ask: Ask, server: str) -> FormatMark:
        """Return the mark.  Raises: as ``bring_up``."""
        found = self.found(ask)
        refusal = self.formats.refusal(found)
        if refusal is not None:
            raise NewerFormatError(f"{server}: {self.prefix}taskd:* {refusal}")
        return found

    def found(self, ask: Ask) -> FormatMark:
        """Return the mark, whoever can read the keys.  Raises: what ``ask`` raises."""
        room = self.formats.room
        (reply,) = ask([("HMGET", self._hash, room, room + _FORMAT)])
        # A user whose ACL forbids this one key sends messages as before.
        known = not isinstance(reply, Exception) and None not in reply
        return FormatMark(int(reply[1]), int(reply[0])) if known else UNMARKED
