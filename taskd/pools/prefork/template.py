"""The template: loads the target once and forks children from that state, for as long as it lives.

It has one thread and no connection but the control socket, so a child forked hours later inherits
no held lock and no half-read stream.  Task code that starts threads or makes an event loop when it is loaded
makes a template *unfit*: it reports what it loaded, and ends.  The pool starts another that loads nothing
(*bare*); its children load the code after the fork, each for itself.

It never runs a job and never listens to anything but the pool.  It ends when the pool's end of the control
socket closes, and dies with its worker.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import NoReturn

from taskd.base import exit_codes
from taskd.base.errors import PoolError, SoftTimeLimitExceeded
from taskd.base.loop import Loop
from taskd.base.resolve import failure_of
from taskd.host import prctl, proctitle
from taskd.host.priority import come_forward
from taskd.host.process_limits import used_up
from taskd.pools.base import Target
from taskd.pools.prefork import wire
from taskd.pools.prefork.child import ChildProgram, leave, nothing, run_child

#: Returns the target and a blob that the pool hands to ``on_hello``.
Load = Callable[[], tuple[Target, bytes]]


def inherited_control() -> socket.socket:
    """Return the control socket that the pool passed by number.  Call it first in a template.

    From here on the process dies with its worker, and a Ctrl-C at the terminal is the worker's
    business, not the template's.
    Raises: ``PoolError`` when the program was started by hand.
    """
    number = os.environ.pop(wire.CONTROL_FD_VARIABLE, "")
    parent = os.environ.pop(wire.PARENT_VARIABLE, "")
    if not (number.isdigit() and parent.isdigit()):
        raise PoolError(f"{wire.CONTROL_FD_VARIABLE} is not set: a template is started by a prefork pool")
    prctl.die_with_parent(int(parent))
    for not_ours in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Not SIG_IGN, which every program that the task code starts would inherit.
        signal.signal(not_ours, _let_pass)
    control = socket.socket(fileno=int(number))
    control.set_inheritable(False)
    return control


def serve(
    control: socket.socket,
    load: Load,
    begin: Callable[[], None] = nothing,
    end: Callable[[], None] = nothing,
    born: Callable[[int], None] = lambda _number: None,
    *,
    soft_limit: Callable[[], type[Exception]] = lambda: SoftTimeLimitExceeded,
    rehearse: Callable[[], None] = nothing,
) -> NoReturn:
    """Load the target, report, and fork children on request until the pool goes away.

    ``begin`` and ``end`` are called in each child, see ``run_child``; ``born`` before that, with the number
    of the child.  ``soft_limit`` is asked when the target is loaded.
    ``rehearse`` is called before the first fork, where the target is loaded here: what it leaves in memory is
    shared by all children.
    """
    title = os.environ.pop(wire.TITLE_VARIABLE, "")
    preload = os.environ.pop(wire.PRELOAD_VARIABLE, wire.AUTO)
    proctitle.set_title(f"template {title}".rstrip())
    gc.disable()  # collections during the import would only move garbage into the frozen heap
    target, hello = (None, b"") if preload == wire.BARE else _load(control, load)
    if preload == wire.NEVER:
        _unfit(control, 'preload = "false"', hello)
    program = ChildProgram(target, partial(_load_late, load), begin, end, born, soft_limit)
    template = _Template(control, program, title, preload, hello)
    template.refuse_threads()
    if preload == wire.AUTO and (loops := open_event_loops()):
        _unfit(control, f"the task code made an event loop while it was loaded: {', '.join(loops)}", hello)
    if preload != wire.BARE:
        rehearse()
        template.refuse_threads()
    gc.collect()
    gc.freeze()
    if preload != wire.BARE:
        come_forward(
            with_descendants=True
        )  # else the first child does it, which has the import still to make
    _send_blob(control, wire.Loaded(), hello)
    template.run()


def _load(control: socket.socket, load: Load) -> tuple[Target, bytes]:
    try:
        return load()
    except BaseException as error:  # noqa: BLE001 - SystemExit of a module too is a failure to load
        reason, detail = failure_of(error)
        _fail(control, f"the task code did not load: {reason}", detail)


def _load_late(load: Load) -> Target:
    """Load in a child, as one of the worker's process group: whoever brings that forward means it, too."""
    target = load()[0]
    come_forward(with_descendants=True)
    os.setpgid(0, 0)
    _disown_signals()
    return target


def _unfit(control: socket.socket, reason: str, hello: bytes) -> NoReturn:
    _send_blob(control, wire.Unfit(reason), hello)
    leave(exit_codes.OK)


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


def _let_pass(_number: int, _frame: FrameType | None) -> None:
    """Go on: what the signal asks for is the worker's business."""


def _end_threads_that_expect_a_fork() -> None:
    """Fork once for nothing: a library that is prepared for forks ends its threads before one.

    OpenBLAS does, which numpy, scipy and scikit-learn bring; it begins threads anew when it computes.
    Only where no other library is known to be about, for the fork itself might hang.
    """
    if len(threading.enumerate()) > 1 or not _is_mapped(b"openblas") or _is_mapped(b"cygrpc"):
        return
    with _all_signals_held():
        pid = os.fork()
        if pid == 0:
            os._exit(0)
    os.waitpid(pid, 0)


def _is_mapped(library: bytes) -> bool:
    with open("/proc/self/maps", "rb") as maps:
        return any(library in os.path.basename(line) for line in maps)


@contextmanager
def _all_signals_held() -> Iterator[None]:
    """Hold signals: one between fork and the child's set-up would run the template's handler in the child."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def open_event_loops() -> list[str]:
    """Return the class of every asyncio event loop that is not closed.

    After a fork all children would wait at the one selector of such a loop, and wake one another.  With
    uvloop they also write to one ring of io_uring, at which libuv aborts the process.
    """
    events = sys.modules.get("asyncio.events")
    if events is None:
        return []
    # By type: the class that an object claims may be that of something which is loaded only when it is asked.
    tracked = gc.get_objects()
    kinds = {kind for kind in set(map(type, tracked)) if issubclass(kind, events.AbstractEventLoop)}
    loops = [each for each in tracked if type(each) in kinds] if kinds else []
    return [f"{type(each).__module__}.{type(each).__qualname__}" for each in loops if not each.is_closed()]


def threads_beside_this() -> list[str]:
    """Return a name for every other thread of this process, those of C libraries included."""
    own = threading.get_native_id()
    own_name = _kernel_name(own)
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    found = []
    for number in map(int, os.listdir("/proc/self/task")):
        if number == own:
            continue
        name = names.get(number) or _kernel_name(number)
        if name is None:
            continue  # it ended meanwhile
        # C code that names its threads not leaves them the name of this process.
        found.append(f'"{name}" (thread {number})' if name != own_name else f"thread {number} of a C library")
    return found


def _kernel_name(thread: int) -> str | None:
    try:
        with open(f"/proc/self/task/{thread}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


class _Template:
    def __init__(
        self, control: socket.socket, program: ChildProgram, title: str, preload: str, hello: bytes
    ) -> None:
        self._control = control
        self._program = program
        self._title = title
        self._preload = preload
        self._hello = hello
        self._loop = Loop()
        #: pidfds of living children, by pid.
        self._pidfds: dict[int, int] = {}

    def refuse_threads(self) -> None:
        """End this process if it has other threads: nothing could be forked from it safely."""
        if threads_beside_this():
            _end_threads_that_expect_a_fork()
        culprits = threads_beside_this()
        if not culprits:
            return
        reason = f"the task code started threads while it was loaded: {', '.join(culprits)}"
        if self._preload == wire.AUTO:
            _unfit(self._control, reason, self._hello)
        remedy = 'start them in a task, set preload = "auto", or use the threads pool'
        _fail(self._control, f"{reason}; a process with threads cannot be forked safely: {remedy}", "")

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
        self.refuse_threads()
        parent = os.getpid()
        try:
            with _all_signals_held():
                pid = os.fork()
                if pid == 0:
                    self._become_child(parent, number, data, slot_fd)
        except OSError as error:
            self._say(wire.ForkFailed(number, f"fork: {error.strerror}; {used_up()}"))
            return
        finally:
            data.close()
            os.close(slot_fd)
        pidfd = os.pidfd_open(pid)
        self._pidfds[pid] = pidfd
        self._loop.add_reader(pidfd, partial(self._reap, number, pid))
        self._say(wire.Forked(number, pid), [pidfd])

    def _become_child(self, parent: int, number: int, data: socket.socket, slot_fd: int) -> NoReturn:
        try:
            prctl.die_with_parent(parent)
            if self._program.target is not None:
                os.setpgid(0, 0)  # a task that signals its process group must not reach the worker
            # Only what the template itself opened: a log file that a module opened at import stays.
            self._control.close()
            self._loop.close()
            for pidfd in self._pidfds.values():
                os.close(pidfd)
            _disown()
            gc.enable()
            proctitle.set_title(f"child {self._title}/{number}")
            self._program.born(number)
        except BaseException:  # noqa: BLE001 - the frames above belong to the template
            traceback.print_exc()
            leave(exit_codes.FAILURE)
        run_child(self._program, data, slot_fd)

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


def _disown() -> None:
    """Undo what the template or the task code has set up for the template: exit handlers, signals."""
    atexit._clear()
    _disown_signals()


def _disown_signals() -> None:
    """Undo what the task code has set up for signals.

    SIGPIPE and SIGXFSZ stay ignored, as Python wants them: writing to a closed pipe is an exception.
    """
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is not signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, _let_pass)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
