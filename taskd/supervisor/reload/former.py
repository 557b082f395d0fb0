"""The brokers that a reload has left behind: for each a file with which taskctl still sees what waits there.

Nobody takes what waits in a broker that is configured no more, and nobody would know.  A file holds all that
leads to its broker, the password too, so only its owner reads it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from zlib import crc32

from taskd.base.urls import place_of, shown
from taskd.config.key_values import KeyValue, walk
from taskd.config.option import ValueForm
from taskd.config.schema import Config
from taskd.config.written import written

_log = logging.getLogger(__name__)

_PREFIX = "former-broker-"
_SUFFIX = ".toml"
_TABLES = ("redis", "amqp", "sqlite")
_MODE = 0o600


class FormerBrokers:
    """The former brokers of one state directory.  For the loop's thread; nothing here raises."""

    def __init__(self, state_directory: str) -> None:
        self._directory = state_directory
        self._addresses = dict(self._found())

    def _found(self) -> Sequence[tuple[str, str]]:
        try:
            names = sorted(os.listdir(self._directory))
        except OSError:
            return ()
        paths = [os.path.join(self._directory, each) for each in names if each.startswith(_PREFIX)]
        return [(path, _address_in(path)) for path in paths if path.endswith(_SUFFIX)]

    def note(self, old: Config, new: Config) -> str:
        """Return what to tell an operator when ``new`` takes the place of ``old``; empty for one broker."""
        if _key(old) == _key(new):
            return ""
        return (
            f"broker: messages in {shown(old.broker)} stay there, and no worker of this daemon takes them; "
            f"see them after the reload: taskctl --config {self.path_of(old)} queues"
        )

    def path_of(self, config: Config) -> str:
        """Return the file that is kept for the broker of a configuration."""
        return os.path.join(self._directory, f"{_PREFIX}{crc32(_key(config).encode()):08x}{_SUFFIX}")

    def replace(self, old: Config, new: Config) -> None:
        """Keep the way to the broker that is left, and forget the one that is back."""
        if _key(old) == _key(new):
            return
        _log.warning("%s", self.note(old, new))
        path = self.path_of(old)
        back = self.path_of(new)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            if os.path.lexists(path):
                os.unlink(path)
            with os.fdopen(os.open(path, flags, _MODE), "w", encoding="utf-8") as file:
                file.write(_text(old))
            self._addresses[path] = shown(old.broker)
            if os.path.lexists(back):
                os.unlink(back)
        except OSError as error:
            _log.warning("the way to the former broker is not kept: %s: %s", path, error.strerror)

    def rows(self) -> Sequence[Mapping[str, str]]:
        """Return the address and the file of each; after its file is deleted, a broker is not named again."""
        known = self._addresses.items()
        return [{"address": address, "file": path} for path, address in known if os.path.exists(path)]


def _key(config: Config) -> str:
    """Return what makes it another broker."""
    return "\n".join((repr(place_of(config.broker)), config.redis.key_prefix, config.redis.master))


def _text(config: Config) -> str:
    """Return a file with which taskctl reaches the broker of a configuration."""
    lines = [
        f"# {shown(config.broker)}",
        "# A reload left this broker.  When nothing waits there: delete this file.",
    ]
    lines += [f"broker = {written(config.broker, ValueForm.URL)}", 'results = "null://"']
    table = ""
    for path, leaf in walk(config):
        if len(path) != 2 or path[0] not in _TABLES or not isinstance(leaf, KeyValue):
            continue
        if path[0] != table:
            table = path[0]
            lines.append(f"[{table}]")
        lines.append(f"{path[1]} = {written(leaf.value, leaf.option.kind)}")
    return "\n".join([*lines, ""])


def _address_in(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().removeprefix("#").strip()
    except OSError:
        return ""
