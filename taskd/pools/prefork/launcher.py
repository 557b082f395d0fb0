"""The pool's side of a template: start the program, ask for forks, hear of exits.

Knows processes and the control socket; ``crew`` decides on the number of children.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from taskd.base.errors import PoolError, StartError
from taskd.base.loop import Loop
from taskd.pools.prefork import wire

_STDIN = 0
_FIRST_FREE = 3

_logger = logging.getLogger(__name__)

OnMessage = Callable[[wire.ControlMessage, Sequence[int]], None]
#: Called with (exit code, signal) when the template is gone and reaped.
OnExit = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class TemplateProgram:
    """How to start a template.

    ``environment`` is the whole environment.  ``pass_fds`` stay open in it under the same numbers;
    nothing else does.  ``title`` is what ps(1) shows after "template" and "child"; ``preload``: see ``wire``.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    title: str = ""
    pass_fds: Sequence[int] = ()
    preload: str = wire.AUTO


class Template:
    """One running template process."""

    def __init__(self, loop: Loop, program: TemplateProgram, on_message: OnMessage, on_exit: OnExit) -> None:
        """Start the program; its answer comes later.

        Raises: ``StartError`` when it cannot be executed.
        """
        self._loop = loop
        self._on_message = on_message
        self._on_exit = on_exit
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        try:
            self.pid = _spawn(program, theirs.fileno())
        except OSError as error:
            self._control.close()
            raise StartError(f"cannot start the template {program.argv[0]!r}: {error.strerror}") from error
        finally:
            theirs.close()
        self._pidfd = os.pidfd_open(self.pid)
        loop.add_reader(self._control.fileno(), self._on_readable)
        loop.add_reader(self._pidfd, self._bury)

    def fork(self, number: int, data: socket.socket, slot_fd: int) -> bool:
        """Ask for child ``number``; False when the socket is full or the template is gone."""
        try:
            wire.send_control(self._control, wire.Fork(number), [data.fileno(), slot_fd])
        except (BlockingIOError, ConnectionError):
            return False
        return True

    def kill(self) -> None:
        """End the template at once, and with it its children.  ``on_exit`` follows."""
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _on_readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Hand on one message; False when there is none."""
        try:
            received = wire.receive_control(self._control)
        except BlockingIOError:
            return False
        except PoolError as error:
            _logger.error("template speaks nonsense and is ended pid=%d: %s", self.pid, error)
            self.kill()
            return False
        if received is None:
            self._loop.remove_reader(self._control.fileno())  # its exit is reported by the pidfd
            return False
        self._on_message(*received)
        return True

    def _bury(self) -> None:
        while self._read():
            pass  # its last messages: why it failed, children that it had still reaped
        self._loop.remove_reader(self._control.fileno())
        self._loop.remove_reader(self._pidfd)
        self._control.close()
        result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        exited = result is not None and result.si_code == os.CLD_EXITED
        status = result.si_status if result is not None else 0
        self._on_exit(status if exited else -1, 0 if exited else status)


def _spawn(program: TemplateProgram, control_fd: int) -> int:
    """Start the program by posix_spawn with only the descriptors that it needs."""
    number = _free_number(program.pass_fds)
    kept = {*program.pass_fds, number}
    actions: list[tuple[int, int, int] | tuple[int, int] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_OPEN, _STDIN, os.devnull, os.O_RDONLY, 0)
    ]
    # A dup2 clears close-on-exec, also from a number to itself; the control socket first, because
    # its number here may be one of those that are closed or overwritten below.
    actions.append((os.POSIX_SPAWN_DUP2, control_fd, number))
    actions += [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in program.pass_fds]
    actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable() if fd not in kept]
    environment = {
        **program.environment,
        wire.CONTROL_FD_VARIABLE: str(number),
        wire.PARENT_VARIABLE: str(os.getpid()),
        wire.TITLE_VARIABLE: program.title,
        wire.PRELOAD_VARIABLE: program.preload,
    }
    return os.posix_spawnp(
        program.argv[0],
        list(program.argv),
        environment,
        file_actions=actions,
        setsigmask=(),
        setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
    )


def _free_number(taken: Sequence[int]) -> int:
    """Return a descriptor number that is free here too, so that the dup2 overwrites nothing."""
    number = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.close(number)
    return number if number not in taken else max(taken) + 1


def _inheritable() -> list[int]:
    """Return the open descriptors that an exec would pass on, standard streams left out."""
    found = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if fd >= _FIRST_FREE and os.get_inheritable(fd):
                found.append(fd)
        except OSError:
            pass  # the descriptor of listdir itself
    return found
