"""What ``fake_program.py`` does to its standard output and error in the modes about them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from taskd.program.bond import show_stacks

READY = b'{"type":"ready"}\n'
FLOOD_BYTES = 64 << 20
_BLOCK = b"a line of a flood, number unknown, and of no interest to anybody\n" * 1000


def write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def stuck_for_ever() -> None:
    while True:
        signal.pause()


def behave(mode: str, say: Callable[[bytes], None]) -> None:  # noqa: PLR0912 - one case for each mode
    match mode:
        case "prints":
            for number in range(1, 6):
                os.write(number % 2 + 1, b"line %d\n" % number)
            write_all(1, b"\xff\x00 garbage\n<4>a warning\n")
            say(READY)
        case "last-line":
            write_all(1, b"whole\nhalf a line")
            sys.exit(3)
        case "shouts":
            say(READY)
            for _ in range(int(os.environ.get("FAKE_FLOOD_BYTES", FLOOD_BYTES)) // len(_BLOCK)):
                write_all(1, _BLOCK)
            say(b'{"type":"heartbeat","done":1}\n')
        case "long-line":
            for _ in range(100):
                write_all(2, b"x" * 10_000)
            write_all(2, b"\nnext\n")
            say(READY)
        case "closes-output":
            os.close(1)
            os.close(2)
            say(READY)
        case "leaves-writer":
            reading, writing = os.pipe()
            if os.fork() == 0:
                os.setsid()
                write_all(1, b"the descendant writes\n")
                os.write(writing, b".")
                Path(os.environ["FAKE_GATE"]).read_bytes()  # blocks for ever
            os.read(reading, 1)
            say(READY)
            os._exit(0)
        case "on-demand":
            say(READY)
            with Path(os.environ["FAKE_GATE"]).open("rb") as orders:  # a FIFO: the test writes into it
                while line := orders.readline():
                    write_all(1, line)
        case "crashes":
            os.write(2, b"about to crash\n")
            running = b'[{"id":"17","name":"shop.add","pid":7,"age_s":2.5}]'
            say(READY + b'{"type":"heartbeat","busy":1,"done":4,"oldest_s":2.5,"running":%s}\n' % running)
            say(b'{"type":"last_words","reason":"out of luck","detail":"Traceback: Luck"}\n')
            sys.exit(9)
        case "hangs":
            show_stacks()
            say(READY)
            stuck_for_ever()
        case "wakes-up":
            signal.signal(signal.SIGUSR2, lambda number, frame: say(b'{"type":"heartbeat","done":1}\n'))
            say(READY)
        case _:
            raise AssertionError(f"no mode {mode!r}")
