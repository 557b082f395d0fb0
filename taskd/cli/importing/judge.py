"""The process that has the app and says of messages how taskd's worker would have taken them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from taskd import __version__
from taskd.base import exit_codes
from taskd.base.errors import ProtocolError
from taskd.base.wakeup import Readable
from taskd.cli.output import Failure
from taskd.host.safe_python import module_command
from taskd.protocol.shadow import Judgement, Sighting, framed, read_judgements, read_ready
from taskd.protocol.status import SUPERVISOR_PID_VARIABLE

_T = TypeVar("_T")

#: An import, or the reading of a batch, that takes longer hangs.
_LONGEST_S = 120.0
#: Messages in one batch.
_BATCH = 256
_READ_BYTES = 1 << 16


class Judge:
    """Open from the start; it ends with this process, however that ends.  Raises: ``Failure``."""

    def __init__(self, app: str, *, directory: str, interpreter: str, environment: Mapping[str, str]) -> None:
        command = module_command("taskd.worker.shadow", app, python=interpreter)
        self._app = app
        try:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env={**os.environ, **environment, SUPERVISOR_PID_VARIABLE: str(os.getpid())},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C ends the watch, and not what is needed for its report
            )
        except OSError as error:
            raise Failure(f"{command[0]} in {directory} cannot be started: {error.strerror}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin = self._process.stdin
        self._stdout_fd = self._process.stdout.fileno()
        self._readable = Readable(self._stdout_fd)
        try:
            self._ready = self._answer(read_ready)
            if self._ready.release != __version__:
                raise Failure(
                    f"{command[0]} has taskd {self._ready.release}, and this is {__version__}; "
                    "install one release in both",
                    exit_codes.APP_BROKEN,
                )
        except BaseException:
            self.close()
            raise

    @property
    def tasks(self) -> Mapping[str, str]:
        """The options of each task of the app, as a person reads them."""
        return self._ready.tasks

    def judged(self, sightings: Sequence[Sighting]) -> Sequence[Judgement]:
        """Return the verdict on each message.  Raises: ``Failure``."""
        found: list[Judgement] = []
        for first in range(0, len(sightings), _BATCH):
            try:
                self._stdin.write(framed(sightings[first : first + _BATCH]))
                self._stdin.flush()
            except BrokenPipeError:
                pass  # the answer says it
            found += self._answer(read_judgements)
        return found

    def _answer(self, take: Callable[[Callable[[int], bytes]], _T]) -> _T:
        try:
            return take(self._read)
        except ProtocolError as error:
            raise Failure(
                f"the process that reads messages with {self._app} has ended, as said above",
                exit_codes.APP_BROKEN,
            ) from error

    def _read(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count > 0:
            if not self._readable.within(_LONGEST_S):
                raise Failure(f"{self._app} has not read its messages within {_LONGEST_S:g} s")
            data = os.read(self._stdout_fd, min(count, _READ_BYTES))
            if not data:
                break
            parts.append(data)
            count -= len(data)
        return b"".join(parts)

    def close(self) -> None:
        """End the process.  May be called twice."""
        self._process.kill()
        self._process.communicate()
