"""The register of deaths: the last certificates, in memory and in a JSON file that outlives the daemon.

The file is replaced as a whole (rename(2)), so that a reader never sees half of it; deaths that come
fast are written together, once a second.  There is no fsync: a crash of the machine may take the last
ones along, and a slow disk must not stop the loop.  Trouble with the file costs a line in
the log and never supervision.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
from collections.abc import Sequence

import msgspec

from taskd.base import clock
from taskd.base.formats import FormatMark, Formats, FormatStep
from taskd.base.lifecycle import Deadline, OneLife
from taskd.base.loop import Loop, LoopTimer, Owner
from taskd.base.own_files import open_own, refuse_foreign
from taskd.config.daemon import SupervisorConfig
from taskd.protocol.status import ChildDied, Trouble
from taskd.supervisor.deaths import alike
from taskd.supervisor.deaths.certificate import Certificate, log_death, of_child
from taskd.supervisor.model.roster import ProgramSpec
from taskd.supervisor.process.memory_kills import MemoryKills

_log = logging.getLogger(__name__)

_FILE = "deaths.json"
_MODE = 0o640
# Lines of all programs: where those have users of their own, the daemon is root.
_MODE_OF_ROOT = 0o600
_AT_MOST_EVERY_S = 1.0
_AFTER_AN_ERROR_S = 10.0


#: A list of certificates has no place for a number: from the next format on, it stands in a ``_Numbered``.
FORMATS: Formats[object] = Formats("deaths", (FormatStep(1, 1, ()),))


_UNDECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Unreadable(Exception):
    """The register's file is there, but cannot be understood."""


class Newer(Unreadable):
    """The register's file is of a newer taskd."""


class _Marked(msgspec.Struct):
    """The head of a register of a later format."""

    format: int
    lowest_reader: int


class _Numbered(_Marked):
    """A register of a later format."""

    deaths: list[Certificate]


def path_in(state_directory: str) -> str:
    """Return where a daemon with this state directory keeps its register."""
    return os.path.join(state_directory, _FILE)


def read(path: str) -> Sequence[Certificate]:
    """Return the certificates in a file, oldest first.

    Raises: ``OSError`` when it cannot be read, ``Unreadable`` when it holds something else.
    """
    data = _data(path)
    try:
        if not data.startswith(b"{"):
            return msgspec.json.decode(data, type=list[Certificate])
        if refusal := FORMATS.refusal(_mark(data)):
            raise Newer(f"{path} {refusal}")
        return msgspec.json.decode(data, type=_Numbered).deaths
    except _UNDECODED as error:
        raise Unreadable(f"{path} is not a register of deaths: {error}") from error


def mark(path: str) -> FormatMark:
    """Return the format of a file, also of one that a newer taskd wrote.  Raises: as ``read``."""
    try:
        return _mark(_data(path))
    except _UNDECODED as error:
        raise Unreadable(f"{path} is not a register of deaths: {error}") from error


def _mark(data: bytes) -> FormatMark:
    if not data.startswith(b"{"):
        return FormatMark(1, 1)
    said = msgspec.json.decode(data, type=_Marked)
    return FormatMark(said.format, said.lowest_reader)


def _data(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _is_ours(beginning: bytes) -> bool:
    return not beginning or beginning.startswith((b"[]", b'[{"program":'))


class Deaths:
    """Keeps the last ``deaths_kept`` certificates.  For the loop's thread."""

    def __init__(self, loop: Loop, settings: SupervisorConfig) -> None:
        self._loop = loop
        self._path = path_in(settings.state_directory)
        self._timer: LoopTimer | None = None
        self._not_before = 0.0
        #: Since when the file cannot be written, and why.
        self.trouble: Trouble | None = None
        self._writes = True
        self._kept = settings.deaths_kept
        self._memory_kills = MemoryKills()
        self._life = OneLife()
        self._certificates = list(self._load())[-self._kept :]

    def add(self, certificate: Certificate, *, decision: str) -> None:
        """Register a death and what follows from it; it is written soon."""
        self._memory_kills.has_killed()  # that was this one, not a child later on
        self._keep(msgspec.structs.replace(certificate, decision=decision))

    def child_died(self, spec: ProgramSpec, line: ChildDied) -> None:
        """Register the death of a pool child that its program tells of; like ones are counted."""
        killed = line.signal == signal.SIGKILL and not line.asked and self._memory_kills.has_killed()
        new = of_child(spec.name, spec.group, line, at=clock.now(), out_of_memory=killed)
        former = alike.like(self._certificates, new)
        if former is None:
            log_death(new)
        else:
            self._certificates.remove(former)
            new = alike.counted(former, new)
        self._keep(new)

    def _keep(self, certificate: Certificate) -> None:
        if not self._life.takes:
            return
        self._certificates.append(certificate)
        if len(self._certificates) > self._kept:
            self._certificates.remove(alike.to_forget(self._certificates))
        if self._timer is None and self._writes:
            self._write_soon()

    def _write_soon(self) -> None:
        self._timer = self._loop.call_at(
            self._not_before, self._write, Owner("the register of deaths", self._try_later)
        )

    def _try_later(self, _why: str) -> None:
        self._not_before = clock.monotonic() + _AFTER_AN_ERROR_S
        self._write_soon()

    def last(self, names: Sequence[str] | None, count: int) -> Sequence[Certificate]:
        """Return the last ``count`` certificates of these programs, of all for None; oldest first."""
        chosen = [each for each in self._certificates if names is None or each.program in names]
        return chosen[len(chosen) - min(count, len(chosen)) :]

    @property
    def programs(self) -> set[str]:
        """The names of the programs that have died."""
        return {certificate.program for certificate in self._certificates}

    def start(self) -> None:
        """Write what is registered from now on."""
        self._life.begin()

    def quiet(self) -> None:
        """Register no further death."""
        self._life.calm()

    def stop(self, deadline: Deadline) -> None:
        """Write what is not written yet."""
        is_unwritten = self._timer is not None
        if self._life.end() and is_unwritten:
            self._write()
        self.kill()

    def kill(self) -> None:
        """Leave the file as it is."""
        self._life.end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _load(self) -> Sequence[Certificate]:
        try:
            return read(self._path)
        except FileNotFoundError:
            return ()
        except OSError as error:
            _log.warning("deaths of former runs cannot be read: %s", error)
            return ()
        except Newer as error:
            _log.warning("%s; deaths are kept in memory only", error)
            self._writes = False
            return ()
        except Unreadable as error:
            aside = f"{self._path}.corrupt"
            try:
                os.replace(self._path, aside)
            except OSError as failure:
                _log.error("%s, and cannot be set aside: %s; move it away by hand", error, failure)
                return ()
            _log.error(
                "%s; it is set aside as %s, which nothing reads: look at it and delete it; a new one begins",
                *(error, aside),
            )
            return ()

    def _write(self) -> None:
        self._timer = None
        self._not_before = clock.monotonic() + _AT_MOST_EVERY_S
        draft = f"{self._path}.new"
        try:
            refuse_foreign(self._path, _is_ours)
            mode = _MODE if os.geteuid() else _MODE_OF_ROOT
            with open(open_own(draft, os.O_RDWR | os.O_CREAT, mode, is_ours=_is_ours), "wb") as file:
                file.truncate()
                file.write(msgspec.json.encode(self._certificates))
            os.rename(draft, self._path)
            self.trouble = None
        except OSError as error:
            self._say(str(error.strerror))

    def look(self) -> None:
        """Look whether the file could be written, before a death shows it; write it if it can be again."""
        obstacle = _obstacle(os.path.dirname(self._path)) if self._writes else ""
        if obstacle:
            self._say(obstacle)
        elif self.trouble is not None and self._timer is None and self._life.takes:
            self._write_soon()

    def _say(self, why: str) -> None:
        if self.trouble is not None:
            return
        text = (
            f"deaths are kept in memory only, for {self._path} cannot be written: {why}; make room there, or "
            "let the user of taskd write the directory"
        )
        _log.warning("%s", text)
        self.trouble = Trouble(text, clock.now())


def _obstacle(directory: str) -> str:
    """Return why nothing can be written into a directory; empty where it seems that it can."""
    try:
        if not os.statvfs(directory).f_bavail:
            return os.strerror(errno.ENOSPC)
    except OSError as error:
        return str(error.strerror)
    return "" if os.access(directory, os.W_OK | os.X_OK) else "no permission, or a read-only file system"
