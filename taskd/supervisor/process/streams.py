"""The standard streams of a process that is about to be started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from taskd.base.log import RECORDS_VARIABLE

#: Names the stream to journald to a process (systemd.exec(5)): device and inode of its standard error.
JOURNAL_STREAM_VARIABLE = "JOURNAL_STREAM"


@dataclass(frozen=True, slots=True)
class Streams:
    """Descriptors for standard input and for standard output and error; -1: empty, and the supervisor's own.

    ``to_journal`` says that lines end up in the journal, so that programs mark them with their priority.
    """

    input_fd: int = -1
    output_fd: int = -1
    to_journal: bool = False

    def environment(self) -> Mapping[str, str]:
        """Return what the process must know of its streams."""
        if not self.to_journal:
            return {
                JOURNAL_STREAM_VARIABLE: "",
                RECORDS_VARIABLE: "",
            }  # that of the supervisor is not the process's
        status = os.fstat(self.output_fd)
        return {JOURNAL_STREAM_VARIABLE: f"{status.st_dev}:{status.st_ino}", RECORDS_VARIABLE: "1"}

    def install(self) -> None:
        """Make them the streams of this process, which has just been forked."""
        os.dup2(os.open(os.devnull, os.O_RDONLY) if self.input_fd < 0 else self.input_fd, 0)
        if self.output_fd >= 0:
            os.dup2(self.output_fd, 1)
            os.dup2(self.output_fd, 2)


#: Nothing to read, and the supervisor's own standard output and error.
INHERITED = Streams()
