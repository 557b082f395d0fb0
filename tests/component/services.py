"""Every service of taskd, made for a test of its life: one opener each.  Not a test module."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from taskd.base.lifecycle import Service, Services
from taskd.base.loop import Loop
from taskd.beat.app_process import AppPlace
from taskd.beat.app_source import AppSource
from taskd.beat.service import Beat
from taskd.config.daemon import LogConfig, SupervisorConfig
from taskd.config.programs import ProgramConfig
from taskd.config.schedule import BeatEntryConfig
from taskd.supervisor.control.server import ControlServer
from taskd.supervisor.control.state_file import StateFile
from taskd.supervisor.deaths.certificate import Certificate
from taskd.supervisor.deaths.register import Deaths
from taskd.supervisor.model.roster import ProgramSpec
from taskd.supervisor.output.files import FilesSink
from taskd.supervisor.output.journal import JournalSink
from taskd.supervisor.output.lines import OutputLine
from taskd.supervisor.output.output import Output
from taskd.supervisor.output.passthrough import PassThroughSink
from taskd.supervisor.process.reaper import Reaper
from taskd.supervisor.process.spawn import Process
from taskd.supervisor.programs.hooks import Occasion, Occurrence, ProgramHooks
from tests.component.beat_bench import Bench


@dataclass
class Opened:
    """A service, and what gives it something to do."""

    service: Service
    work: Callable[[], None]


#: Long, so that a few of them fill what nobody reads.
_LINE = OutputLine("mail-1", 1, 1, 0.0, b"." * 30_000)

Opener = Callable[[Loop, Path], AbstractContextManager[Opened]]


@contextmanager
def control_server(loop: Loop, _directory: Path) -> Iterator[Opened]:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind("")  # an abstract address of the kernel's choice
    listening.listen(8)
    listening.setblocking(False)
    clients: list[socket.socket] = []

    def connect() -> None:
        if len(clients) < 4:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            clients.append(client)
            client.connect(listening.getsockname())
            client.sendall(b'{"jsonrpc": "2.0", "id": 1, "method": "status"}\n')

    try:
        yield Opened(ControlServer(loop, listening, {"status": lambda _params: {}}), connect)
    finally:
        for client in clients:
            client.close()
        listening.close()


@contextmanager
def state_file(loop: Loop, directory: Path) -> Iterator[Opened]:
    file = StateFile(loop, str(directory / "state"), dict)
    yield Opened(file, file.changed)


@contextmanager
def register_of_deaths(loop: Loop, directory: Path) -> Iterator[Opened]:
    deaths = Deaths(loop, SupervisorConfig(state_directory=str(directory)))
    yield Opened(deaths, lambda: deaths.add(Certificate(program="a-1"), decision="stays down"))


@contextmanager
def hooks(loop: Loop, _directory: Path) -> Iterator[Opened]:
    table = ProgramConfig(name="a", command=("true",), on_ready=("sleep", "60"))
    spec = ProgramSpec("a-1", "program", "a", ("true",), table)
    running = ProgramHooks(loop, Reaper(loop), lambda hook: _spawned(hook.command))
    yield Opened(running, lambda: running.announce(Occurrence(spec, Occasion.READY, "", "ready")))


@contextmanager
def output(loop: Loop, directory: Path) -> Iterator[Opened]:
    def spawn_writer(_spec: ProgramSpec, input_fd: int) -> Process:
        return _spawned(("cat",), input_fd=input_fd)

    made = Output(loop, LogConfig(directory=str(directory)), Reaper(loop), spawn_writer)
    yield Opened(made, lambda: logging.getLogger("tests.services").warning("a line"))


@contextmanager
def sink_of_files(loop: Loop, directory: Path) -> Iterator[Opened]:
    def spawn_writer(_spec: ProgramSpec, input_fd: int) -> Process:
        return _spawned(("cat",), input_fd=input_fd)

    sink = FilesSink(loop, Reaper(loop), spawn_writer, directory=str(directory), max_bytes=1 << 20, backups=1)
    yield Opened(sink, lambda: sink.write(_LINE))


@contextmanager
def sink_of_the_journal(loop: Loop, directory: Path) -> Iterator[Opened]:
    path = str(directory / "journal")
    journald = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)  # takes some entries, and reads none
    journald.bind(path)
    sink = JournalSink(loop, path)
    yield Opened(sink, lambda: sink.write(_LINE))
    journald.close()
    os.unlink(path)


@contextmanager
def sink_of_standard_error(loop: Loop, _directory: Path) -> Iterator[Opened]:
    reading, writing = os.pipe()  # full after a few lines, and nobody reads
    sink = PassThroughSink(loop, writing)
    yield Opened(sink, lambda: sink.write(_LINE))
    os.close(reading)
    os.close(writing)


def _spawned(command: Sequence[str], input_fd: int = 0) -> Process:
    status_fd, theirs = os.pipe()
    os.set_blocking(status_fd, False)
    null = os.open(os.devnull, os.O_WRONLY)
    pid = os.posix_spawnp(
        command[0],
        list(command),
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, input_fd, 0), (os.POSIX_SPAWN_DUP2, null, 1)],
        setsid=True,
    )
    os.close(theirs)
    os.close(null)
    return Process(pid, os.pidfd_open(pid), status_fd, "")


@contextmanager
def beat(loop: Loop, directory: Path) -> Iterator[Opened]:
    entry = BeatEntryConfig(name="often", task="shop.add", every=0.01)
    bench = Bench(loop, directory, entry)

    def work() -> None:
        bench.broker.is_away = not bench.broker.is_away
        bench.now_at += 1.0
        made.reread({entry.name: entry})

    made = Beat(loop, bench.entries, bench.surroundings)
    yield Opened(made, work)
    assert bench.broker.open == 0, "a connection is left"


@contextmanager
def source_of_apps(loop: Loop, directory: Path) -> Iterator[Opened]:
    place = AppPlace("no_such_module:app", directory=str(directory))
    source = AppSource(loop, [place], lambda _declared: None, again_s=0.001)
    yield Opened(source, lambda: None)


@contextmanager
def several(loop: Loop, directory: Path) -> Iterator[Opened]:
    with state_file(loop, directory) as file, control_server(loop, directory) as server:

        def work() -> None:
            file.work()
            server.work()

        yield Opened(Services([file.service, server.service], loop.attempt), work)


_ALL = (
    control_server,
    state_file,
    register_of_deaths,
    hooks,
    output,
    sink_of_files,
    sink_of_the_journal,
    sink_of_standard_error,
    beat,
    source_of_apps,
    several,
)
OPENERS: Mapping[str, Opener] = {each.__name__: each for each in _ALL}
