"""Logging set-up, the same for every program: one handler that writes to standard error.

Formats: *plain* for people (time, level, program, message), *json* with one object a line, and
*journal*, in which each line starts with the sd-daemon(3) priority ``<N>``, tracebacks included, so
that ``journalctl -p err`` finds them.  The time is left out there, because journald keeps its own.

A line that a task logs names the task: ``task=NAME id=ID`` before the message, fields of its own in json.

Set-up stands here alone; everything else only calls ``logging.getLogger(__name__)``.
logging.config is not imported: it costs more than this module and offers nothing that is needed.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import os
import sys
import time
from collections.abc import Mapping

import msgspec

from taskd.base import clock, running, safe_text

# The priorities of syslog(3) that the levels of logging map to.
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG_PRIORITY = 7

#: The logger above all of taskd's.  It exists early, so that it is disabled when any of them is.
_own = logging.getLogger("taskd")
#: The handler that ``setup`` has put on the root, and the level that was asked for last.
_placed: list[logging.Handler] = []
_level: list[int] = []


#: Set in the environment of programs whose output the supervisor passes on to the journal.
RECORDS_VARIABLE = "TASKD_LOG_RECORDS"
#: Between the priority of a line and the JSON object of a record (RS of ASCII).
RECORD_MARK = "\x1e"
# The supervisor cuts longer lines into pieces.
_MAX_RECORD_BYTES = 40_000


def setup(level: str, format: str, *, program: str) -> None:  # noqa: A002 - the name of the key in [log]
    """Send the records of all loggers to standard error; a second call replaces the first.

    ``level`` and ``format`` are those of the configuration (``auto`` looks whether standard error
    goes to journald); ``program`` stands in every record, such as ``mail-1``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(format, program, to_journal=is_journal(2)))
    root = logging.getLogger()
    for former in root.handlers[:]:
        root.removeHandler(former)
        former.close()
    root.addHandler(handler)
    _placed[:] = [handler]
    set_level(level)
    # Facts that no format prints; each costs a call for every record.
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False
    # Prints of a task appear at once, among its log lines, and line by line.  PYTHONUNBUFFERED would write
    # the end of each line by itself, and another line may come between.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, write_through=False)
    # A full disk or a closed pipe behind stderr must not add a traceback about itself.
    logging.raiseExceptions = False


def redirect(former: object, stream: object) -> None:
    """Have what went to ``former``, a stream, go to another: a process has put it in that one's place."""
    for handler in {*logging.getLogger().handlers, *_own.handlers}:
        if isinstance(handler, logging.StreamHandler) and handler.stream is former:
            handler.setStream(stream)


def set_level(level: str | int) -> None:
    """Have the least severe level that is written be another from now on; a name, or a number of logging."""
    logging.getLogger().setLevel(level.upper() if isinstance(level, str) else level)
    _level[:] = [logging.getLogger().level]
    if _own.handlers:
        _own.setLevel(_level[0])


def bring_back() -> None:
    """Have taskd's own records written again if a configuration of logging by other code put an end to that.

    ``dictConfig`` disables the loggers that it does not name, and puts other handlers on the root.  Records
    of the other code go where that code wants them; the records of taskd go where ``setup`` sent them.
    Cheap when nothing has changed.  Does nothing where ``setup`` was not called.
    """
    root = logging.getLogger()
    if not _placed or not (_own.disabled or (_placed[0] not in root.handlers and not _own.handlers)):
        return
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and (name + ".").startswith("taskd."):
            logger.disabled = False
    if _placed[0] not in root.handlers and not _own.handlers:
        _own.addHandler(_placed[0])
        _own.setLevel(_level[0])
        _own.propagate = False


def take_root_back() -> None:
    """Have each record written once, from the level that was asked for, though other code changed the root.

    Code that prepares for a run without taskd puts its handler for the standard streams beside the handler of
    ``setup``, and another level.  Its other handlers stay.  Does nothing where ``setup`` was not called, or
    where a configuration of logging has put others in the place of taskd's handler.
    """
    root = logging.getLogger()
    if not _placed or _placed[0] not in root.handlers:
        return
    root.setLevel(_level[0])
    for handler in root.handlers[:]:
        to_terminal = isinstance(handler, logging.StreamHandler) and handler.stream in (
            sys.stdout,
            sys.stderr,
        )
        if to_terminal and handler is not _placed[0]:
            root.removeHandler(handler)


def is_journal(fd: int, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether the descriptor is the stream to journald that systemd named (systemd.exec(5))."""
    named = environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return named == f"{status.st_dev}:{status.st_ino}"


def formatter(chosen: str, program: str, *, to_journal: bool) -> logging.Formatter:
    """Return the formatter of the supervisor's own records, which go to a sink and not to a stream.

    A record for the journal itself (``to_journal``) has its priority in a field.
    """
    if to_journal and chosen in {"auto", "journal"}:
        return SafeFormatter(program.replace("%", "%%") + ": %(message)s")
    return _formatter(chosen, program, to_journal=False)


def _formatter(chosen: str, program: str, *, to_journal: bool) -> logging.Formatter:
    if chosen == "json":
        return JsonFormatter(program)
    if to_journal and chosen in {"auto", "journal"} and os.environ.get(RECORDS_VARIABLE):
        return RecordFormatter(program)
    if chosen == "journal" or (chosen == "auto" and to_journal):
        return JournalFormatter(program)
    return PlainFormatter(program)


class SafeFormatter(logging.Formatter):
    """Writes what others chose as text: it forges no line, and steers no terminal.

    Of a record of taskd itself the arguments are data, each in one line; only a ``safe_text.Block`` has more.
    Every further line of a record is indented, so that it can not pass for a record.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        return safe_text.block(super().format(_tamed(record)))


def _tamed(record: logging.LogRecord) -> logging.LogRecord:
    if not record.name.startswith("taskd.") or not isinstance(record.args, tuple) or not record.args:
        return record
    tamed = copy.copy(record)
    tamed.args = tuple(
        safe_text.one_line(str(arg))
        if isinstance(arg, (str, BaseException)) and not isinstance(arg, safe_text.Block)
        else arg
        for arg in record.args
    )
    return tamed


class _NamingFormatter(SafeFormatter):
    """Puts ``task=NAME id=ID`` before what a running task logs."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line; the messages of taskd itself about a task begin with its name already."""
        task = running.current.get()
        if task is not None and not record.message.startswith("task="):
            name = safe_text.one_line(task.task)
            task_id = safe_text.one_line(task.id)
            record.message = f"task={name} id={task_id} {record.message}"
        return super().formatMessage(record)


class PlainFormatter(_NamingFormatter):
    """``2026-03-01 12:00:00.123 INFO    mail-1: message``, in local time, tracebacks below."""

    def __init__(self, program: str) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03d %(levelname)-7s " + program.replace("%", "%%") + ": %(message)s"
        )
        self.datefmt = "%Y-%m-%d %H:%M:%S"
        self.converter = time.localtime


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, program, logger, message; task, id and traceback if there are."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        """Return the object, without a newline."""
        fields = {
            "at": clock.iso(record.created),
            "level": record.levelname.lower(),
            "program": self._program,
            "logger": record.name,
            "message": record.getMessage(),
        }
        task = running.current.get()
        if task is not None:
            fields["task"] = task.task
            fields["id"] = task.id
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return safe_text.json_text(_encoded(fields))


def _encoded(fields: Mapping[str, object]) -> str:
    try:
        return msgspec.json.encode(fields).decode()
    except UnicodeEncodeError:  # lone surrogates
        return json.dumps(fields)


class JournalFormatter(_NamingFormatter):
    """``<6>mail-1: message``; every further line of a record gets the priority as well."""

    def __init__(self, program: str) -> None:
        super().__init__(program.replace("%", "%%") + ": %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's lines, each with its priority."""
        prefix = f"<{priority(record.levelno)}>"
        return "\n".join(prefix + line for line in super().format(record).split("\n"))


class RecordFormatter(_NamingFormatter):
    """One line for each record, for the supervisor: it makes one entry of the journal of it, with fields.

    ``<6>``, a separator, and a JSON object; a record that is too long for that is as ``JournalFormatter``
    writes it.
    """

    def __init__(self, program: str) -> None:
        super().__init__(program.replace("%", "%%") + ": %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        prefix = f"<{priority(record.levelno)}>"
        task = running.current.get()
        fields = {"message": super().format(record)}
        if task is not None:
            fields |= {"task": task.task, "id": task.id}
        line = prefix + RECORD_MARK + _encoded(fields)
        if len(line.encode("utf-8", "surrogatepass")) > _MAX_RECORD_BYTES:
            return "\n".join(prefix + part for part in fields["message"].split("\n"))
        return line


def priority(level: int) -> int:
    """Return the priority of syslog(3) of a level of logging."""
    for least, number in _PRIORITIES:
        if level >= least:
            return number
    return _DEBUG_PRIORITY
