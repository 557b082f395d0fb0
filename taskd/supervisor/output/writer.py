"""``python -m taskd.supervisor.output.writer DIRECTORY MAX_BYTES BACKUPS text|json``: writes the log files.

A process of its own, so that a disk that is slow, stuck or full is its trouble alone.  The supervisor hands
it frames over a pipe (standard input) that never blocks on its side.  It tells the supervisor over the status
descriptor when it cannot write, and when it can again.  It ends at the end of its input, having written
everything, so also when the supervisor was killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from taskd.base import clock
from taskd.base.plural import counted
from taskd.host import prctl
from taskd.host.proctitle import set_title
from taskd.protocol.status import STATUS_FD_VARIABLE, LinesLost, Ready, StatusLine, Waiting, encode_line
from taskd.supervisor.output.frames import Decoder, FrameKind
from taskd.supervisor.output.records import notice
from taskd.supervisor.output.rotation import RotatedFile

_READ_BYTES = 1 << 18
_WARNING = 4
_DIRECTORY_MODE = 0o750
#: The time that is left when the supervisor is dead.
_LAST_LINES_S = 2


class Writer:
    """The files of one directory."""

    def __init__(
        self,
        directory: str,
        max_bytes: int,
        backups: int,
        report: Callable[[StatusLine], None],
        *,
        as_json: bool,
    ) -> None:
        self._as_json = as_json
        self._directory = directory
        self._max_bytes = max_bytes
        self._backups = backups
        self._report = report
        self._files: dict[str, RotatedFile] = {}
        self._lost: dict[str, int] = {}
        self._unsaid = 0
        self._trouble = ""

    def take(self, kind: FrameKind, name: str, data: bytes) -> None:
        """Carry out one frame.  Lines that cannot be written are counted, and their file says so later."""
        match kind:
            case FrameKind.REOPEN:
                self._reopen()
            case FrameKind.WRITE:
                self._write(name, data)

    def _write(self, name: str, data: bytes) -> None:
        file = self._files.get(name)
        if file is None:
            path = os.path.join(self._directory, f"{name.replace('/', '_')}.log")
            file = self._files[name] = RotatedFile(path, max_bytes=self._max_bytes, backups=self._backups)
        lost = self._lost.get(name, 0)
        if lost:
            text = (
                f"taskd: {counted(lost, 'line was', 'lines were')} lost here: {self._trouble or 'the disk'}"
            )
            said = notice(text, _WARNING, name, clock.now()) if self._as_json else text.encode()
            data = said + b"\n" + data
        try:
            os.makedirs(self._directory, _DIRECTORY_MODE, exist_ok=True)
            file.write(data)
        except OSError as error:
            file.close()
            self._lost[name] = lost + 1
            self._unsaid += 1
            self._say(f"log files in {self._directory} cannot be written: {error.strerror or error}")
        else:
            self._lost.pop(name, None)
            if not self._lost:
                self._say("")

    def tell_lost(self) -> None:
        """Report how many lines were lost since the last call."""
        if self._unsaid:
            self._report(LinesLost(self._unsaid))
            self._unsaid = 0

    def _reopen(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._report(Waiting(trouble) if trouble else Ready())


def main() -> None:
    """Write until the supervisor closes its end."""
    # The supervisor's death must not take the last lines along; it only limits the time for them.
    signal.signal(signal.SIGUSR2, _hurry)
    prctl.die_with_parent(os.getppid(), signal.SIGUSR2)
    # systemd may send them to every process of the unit; the writer ends when the others have ended.
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(ignored, signal.SIG_IGN)
    set_title("logger")
    directory = sys.argv[1]
    max_bytes = int(sys.argv[2])
    backups = int(sys.argv[3])
    status_fd = int(os.environ[STATUS_FD_VARIABLE])

    def report(line: StatusLine) -> None:
        os.write(status_fd, encode_line(line))

    writer = Writer(directory, max_bytes, backups, report, as_json=sys.argv[4] == "json")
    decoder = Decoder()
    while data := os.read(0, _READ_BYTES):
        for kind, name, payload in decoder.feed(data):
            writer.take(kind, name, payload)
        writer.tell_lost()  # at once for all that came together


def _hurry(_number: int, _frame: FrameType | None) -> None:
    """End soon by SIGALRM, even inside a system call that waits for the disk."""
    signal.alarm(_LAST_LINES_S)


if __name__ == "__main__":
    main()
