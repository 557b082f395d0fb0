"""A connection to Redis that sends commands, waits for their replies, and is opened anew after it broke."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from redis.exceptions import ConnectionError as LostError
from redis.exceptions import NoScriptError, ReadOnlyError
from redis.exceptions import RedisError as LibraryError

from taskd.base.errors import StorageError
from taskd.storage.redis.address import Address
from taskd.storage.redis.errors import translate
from taskd.storage.redis.line import Argument, Command, Line, Reply
from taskd.storage.redis.marked import Marked


class Script:
    """A Lua script; ``keys`` it touches are stated in its text, in order."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.sha1 = hashlib.sha1(self.text.encode()).hexdigest()  # noqa: S324 - Redis's name for it

    def call(self, keys: Sequence[Argument], arguments: Iterable[Argument]) -> Command:
        """Return the command that runs it."""
        return ("EVALSHA", self.sha1, len(keys), *keys, *arguments)


class ScriptCall(NamedTuple):
    """A script and what to run it with, for whoever has a connection to the same server."""

    script: Script
    keys: Sequence[Argument]
    arguments: Sequence[Argument]


@cache
def _in_one_step(first: Script, second: Script) -> Script:
    """Return a script that runs both and answers as the second does; it does not run if the first fails."""
    return Script(
        f"""
local function first(KEYS, ARGV)
{first.text}
end
local function second(KEYS, ARGV)
{second.text}
end
-- KEYS: those of the first, those of the second.
-- ARGV: how many keys and arguments are the first's, then its own, then those of the second.
local function part(whole, from, to)
  local found = {{}}
  for at = from, to do found[#found + 1] = whole[at] end
  return found
end
local keys, words = tonumber(ARGV[1]), tonumber(ARGV[2])
first(part(KEYS, 1, keys), part(ARGV, 3, words + 2))
return second(part(KEYS, keys + 1, #KEYS), part(ARGV, words + 3, #ARGV))
"""
    )


class RedisLink:
    """Connects at the first command.  Not thread-safe: commands of two threads would mix.

    After an error of the connection it is closed, and the next command opens it anew.
    """

    def __init__(self, address: Address, marked: Marked | None = None) -> None:
        """``marked`` are keys that are looked at, and brought up, before anything else is done to them."""
        self.address = address
        self._marked = marked
        self._line: Line | None = None
        self.closed = False
        #: How many connections were opened so far; state of an earlier one is gone with it.
        self.opened = 0

    def call(self, *command: Argument) -> Reply:
        """Send one command and return its reply.  Raises: ``StorageError``."""
        return self.pipeline([command])[0]

    def run(self, script: Script, keys: Sequence[Argument], arguments: Iterable[Argument]) -> Reply:
        """Run a script and return its reply.  Raises: ``StorageError``."""
        return self.pipeline([script.call(keys, arguments)], (script,))[0]

    def run_after(
        self,
        first: ScriptCall | None,
        script: Script,
        keys: Sequence[Argument],
        arguments: Sequence[Argument],
    ) -> Reply:
        """Run two scripts in one step and return the reply of the second, which a failed first prevents.

        Raises: ``StorageError``.
        """
        if first is None:
            return self.run(script, keys, arguments)
        words = (len(first.keys), len(first.arguments), *first.arguments, *arguments)
        return self.run(_in_one_step(first.script, script), (*first.keys, *keys), words)

    def pipeline(self, commands: Sequence[Command], scripts: Sequence[Script] = ()) -> list[Reply]:
        """Send commands in one trip and return their replies.

        ``scripts`` are those that the commands call: one that the server has forgotten is sent again.
        Raises: ``StorageError`` for the first that failed; the others were carried out nevertheless,
        unless the connection broke.
        """
        replies = self.replies(commands, scripts)
        for reply in replies:
            if isinstance(reply, StorageError):
                raise reply
        return replies

    def replies(self, commands: Sequence[Command], scripts: Sequence[Script] = ()) -> list[Reply]:
        """As ``pipeline``, with a ``StorageError`` in the place of the reply of each that failed.

        Raises: ``StorageError`` when the connection broke: then nobody knows what was carried out.
        """
        replies = self._exchange(commands)
        for position, command in enumerate(commands):
            if isinstance(replies[position], NoScriptError):
                replies[position] = self._evaluate(command, scripts)
            failure = _failure(replies[position])
            if failure is not None:
                replies[position] = translate(failure, self.address.shown)
            if isinstance(failure, (ReadOnlyError, LostError)):
                # It was the master once, or it knows this user no more: the next command asks anew.
                self.disconnect()
        return replies

    def _evaluate(self, command: Command, scripts: Sequence[Script]) -> Reply:
        """Run a script that the server does not have (``SCRIPT FLUSH``, a restart, a new master)."""
        text = next(script.text for script in scripts if script.sha1 == command[1])
        return self._exchange([("EVAL", text, *command[2:])])[0]

    def _exchange(self, commands: Sequence[Command]) -> list[Reply]:
        """Return a reply or an error of the library for each command."""
        line = self._open()
        try:
            return line.ask(commands)
        except (LibraryError, OSError) as error:
            self.disconnect()
            raise translate(error, self.address.shown) from error
        except BaseException:
            # Interrupted between the command and its reply: the next reply would be taken for another's.
            self.disconnect()
            raise

    def _open(self) -> Line:
        if self.closed:
            raise StorageError("this connection to Redis is closed; ask for a new one")
        if self._line is not None and self._line.speaks():
            self.disconnect()  # nothing was asked, so it can only be the end, from the server's side
        if self._line is None:
            self._line = Line(self.address.connect())
            self.opened += 1
            if self._marked is not None:
                self._bring_up(self._marked, self._line)
        return self._line

    def _bring_up(self, marked: Marked, line: Line) -> None:
        try:
            marked.bring_up(line.ask, self.address.shown)
        except (LibraryError, OSError) as error:
            self.disconnect()
            raise translate(error, self.address.shown) from error
        except BaseException:
            self.disconnect()
            raise

    def check_format(self) -> None:
        """Look whether a newer taskd has changed the keys meanwhile.

        Raises: ``NewerFormatError``, or another ``StorageError``.
        """
        if self._marked is not None:
            self._marked.check(self._exchange, self.address.shown)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, as far as is known before a command is sent."""
        return self._line is not None and not self._line.speaks()

    def disconnect(self) -> None:
        """Close the connection; the next command opens another."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def close(self) -> None:
        """Close for good.  May be called twice."""
        self.closed = True
        self.disconnect()


def _failure(reply: Reply) -> LibraryError | None:
    """Return what went wrong with a command, or with the first that failed in a transaction."""
    if type(reply) is list:
        return next((each for each in reply if isinstance(each, LibraryError)), None)
    return reply if isinstance(reply, LibraryError) else None
