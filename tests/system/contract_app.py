"""Tasks that do what tasks should not, for the suite that runs over every pool."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path
from typing import NoReturn

from taskd import App

app = App()


class Locked(Exception):
    """Holds what no serializer takes."""

    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Stuck(Exception):
    def __reduce__(self) -> NoReturn:
        raise RuntimeError("not to be taken apart")


class Sealed(Exception):
    """Has no readable arguments."""

    @property
    def args(self) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("sealed")

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("not to be taken apart")


class Rude(Exception):
    """Ends whoever wants to show it, and is its own argument."""

    def __repr__(self) -> NoReturn:
        raise SystemExit

    def __reduce__(self) -> tuple[type[Rude], tuple[Rude]]:
        return Rude, (self,)


class Closed(Exception):
    """Lets nobody look at it."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise RuntimeError("closed")


ERRORS: dict[str, type[BaseException]] = {
    "locked": Locked,
    "mute": Mute,
    "stuck": Stuck,
    "sealed": Sealed,
    "rude": Rude,
    "closed": Closed,
    "exit": SystemExit,
    "interrupt": KeyboardInterrupt,
}


@app.task(name="contract.add")
def add(a: int, b: int) -> int:
    return a + b


@app.task(name="contract.add_async")
async def add_async(a: int, b: int) -> int:
    return a + b


@app.task(name="contract.fail")
def fail(kind: str) -> None:
    raise ERRORS[kind]()


@app.task(name="contract.unserializable")
def unserializable() -> object:
    return threading.Lock()


@app.task(name="contract.huge")
def huge(count: int) -> str:
    return "x" * count


@app.task(name="contract.print")
def print_much(mebibytes: int) -> int:
    chunk = "x" * (1 << 20)
    return sum(sys.stdout.write(chunk) for _ in range(mebibytes))


@app.task(name="contract.fork")
def fork() -> int:
    """Fork a process that comes back through the task like its parent."""
    return os.fork()


@app.task(name="contract.os_exit")
def os_exit(path: str) -> int:
    """Exit in the first run."""
    if not os.path.exists(path):
        Path(path).touch()
        os._exit(3)
    return 1


@app.task(name="contract.read")
def read(path: str) -> str:
    """Block in a system call until somebody connects and writes."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        connection, _ = server.accept()
        with connection:
            return connection.recv(100).decode()
