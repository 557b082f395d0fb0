"""The template: loads the target once and forks children from that state, for as long as it lives.

It has one thread and no connection but the control socket, so a child forked hours later inherits
no held lock and no half-read stream.  It never runs a job and never listens to anything but the
pool.  It ends when the pool's end of the control socket closes, and dies with its worker.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from typing import NoReturn

from taskd import exit_codes, prctl, proctitle
from taskd.errors import PoolError
from taskd.loop import Loop
from taskd.pools.base import Target
from taskd.pools.prefork import wire
from taskd.pools.prefork.child import leave, nothing, run_child
from taskd.priority import come_forward
from taskd.resolve import failure_of

#: Returns the target and a blob that the pool hands to ``on_hello``.
Load = Callable[[], tuple[Target, bytes]]


def inherited_control() -> socket.socket:
    """Return the control socket that the pool passed by number.  Call it first in a template.

    From here on the process dies with its worker, and a Ctrl-C at the terminal is the worker's
    business, not the template's.
    Raises: ``PoolError`` when the program was started by hand.
    """
    number, parent = os.environ.pop(wire.CONTROL_FD_VARIABLE, ""), os.environ.pop(wire.PARENT_VARIABLE, "")
    if not (number.isdigit() and parent.isdigit()):
        raise PoolError(f"{wire.CONTROL_FD_VARIABLE} is not set: a template is started by a prefork pool")
    prctl.die_with_parent(int(parent))
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    control = socket.socket(fileno=int(number))
    control.set_inheritable(False)
    return control


def serve(
    control: socket.socket,
    load: Load,
    begin: Callable[[], None] = nothing,
    end: Callable[[], None] = nothing,
) -> NoReturn:
    """Load the target, report, and fork children on request until the pool goes away.

    ``begin`` and ``end`` are called in each child, see ``run_child``.
    """
    title = os.environ.pop(wire.TITLE_VARIABLE, "")
    proctitle.set_title(f"template {title}".rstrip())
    gc.disable()  # collections during the import would only move garbage into the frozen heap
    try:
        target, hello = load()
    except BaseException as error:  # noqa: BLE001 - SystemExit of a module too is a failure to load
        reason, detail = failure_of(error)
        _fail(control, f"the task code did not load: {reason}", detail)
    if culprits := threads_beside_this():
        _fail(control, _refusal(culprits), "")
    gc.collect()
    gc.freeze()
    come_forward(with_descendants=True)
    _send_blob(control, wire.Loaded(), hello)
    _Template(control, target, title, begin, end).run()


def _fail(control: socket.socket, reason: str, detail: str) -> NoReturn:
    _send_blob(control, wire.Failed(reason), detail.encode("utf-8", "replace"))
    leave(exit_codes.APP_BROKEN)


def _send_blob(control: socket.socket, message: wire.ControlMessage, blob: bytes) -> None:
    fd = wire.blob_into_descriptor(blob)
    try:
        wire.send_control(control, message, [fd])
    except ConnectionError:
        leave(exit_codes.OK)  # the worker has gone
    finally:
        os.close(fd)


def threads_beside_this() -> list[str]:
    """Return a name for every other thread of this process, those of C libraries included."""
    own = threading.get_native_id()
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    found = []
    for number in map(int, os.listdir("/proc/self/task")):
        if number == own:
            continue
        try:
            with open(f"/proc/self/task/{number}/comm", encoding="utf-8", errors="replace") as file:
                kernel_name = file.read().strip()
        except OSError:
            continue  # it ended meanwhile
        found.append(f'"{names.get(number, kernel_name)}" (thread {number})')
    return found


def _refusal(culprits: Iterable[str]) -> str:
    return (
        f"the task code started threads while it was loaded: {', '.join(culprits)}; a process with "
        f"threads cannot be forked safely: start them in a task, or use the threads pool"
    )


class _Template:
    def __init__(
        self,
        control: socket.socket,
        target: Target,
        title: str,
        begin: Callable[[], None],
        end: Callable[[], None],
    ) -> None:
        self._begin, self._end = begin, end
        self._control = control
        self._target = target
        self._title = title
        self._loop = Loop()
        #: pidfds of living children, by pid.
        self._pidfds: dict[int, int] = {}

    def run(self) -> NoReturn:
        self._loop.add_reader(self._control.fileno(), self._on_request)
        while True:
            self._loop.run_once()

    def _on_request(self) -> None:
        received = wire.receive_control(self._control)
        if received is None:
            leave(exit_codes.OK)  # the worker has gone or needs no template; children die with us
        message, fds = received
        match message:
            case wire.Fork(number=number):
                self._fork(number, socket.socket(fileno=fds[0]), fds[1])
            case _:
                raise PoolError(f"the pool sent {message!r} to its template")

    def _fork(self, number: int, data: socket.socket, slot_fd: int) -> None:
        if culprits := threads_beside_this():
            _fail(self._control, _refusal(culprits), "")
        parent = os.getpid()
        # A signal between fork and the child's set-up would run the template's handler in the child.
        former = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
        except OSError as error:
            self._say(wire.ForkFailed(number, f"fork: {error.strerror}"))
            return
        else:
            if pid == 0:
                self._become_child(parent, number, data, slot_fd)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
            data.close()
            os.close(slot_fd)
        pidfd = os.pidfd_open(pid)
        self._pidfds[pid] = pidfd
        self._loop.add_reader(pidfd, partial(self._reap, number, pid))
        self._say(wire.Forked(number, pid), [pidfd])

    def _become_child(self, parent: int, number: int, data: socket.socket, slot_fd: int) -> NoReturn:
        try:
            prctl.die_with_parent(parent)
            # Only what the template itself opened: a log file that a module opened at import stays.
            self._control.close()
            self._loop.close()
            for pidfd in self._pidfds.values():
                os.close(pidfd)
            atexit._clear()
            _reset_signals()
            gc.enable()
            proctitle.set_title(f"child {self._title}/{number}")
        except BaseException:  # noqa: BLE001 - the frames above belong to the template
            traceback.print_exc()
            leave(exit_codes.FAILURE)
        run_child(self._target, data, slot_fd, self._begin, self._end)

    def _reap(self, number: int, pid: int) -> None:
        reaped, status, usage = os.wait4(pid, os.WNOHANG)
        if not reaped:
            return
        pidfd = self._pidfds.pop(pid)
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        died_of = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        exit_code = -1 if died_of else os.WEXITSTATUS(status)
        self._say(wire.Exited(number, pid, exit_code, died_of, usage.ru_maxrss * 1024))

    def _say(self, message: wire.ControlMessage, fds: Iterable[int] = ()) -> None:
        try:
            wire.send_control(self._control, message, list(fds))
        except ConnectionError:
            leave(exit_codes.OK)


def _reset_signals() -> None:
    """Undo every handler that the template or the task code set; then unblock.

    SIGPIPE and SIGXFSZ stay ignored, as Python wants them: writing to a closed pipe is an exception.
    """
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is not signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
