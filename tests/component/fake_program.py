"""A supervised program that does what ``FAKE_MODE`` says; run by the component tests of the supervisor.

It keeps the rules that real programs keep (it dies with its parent, SIGTERM is warm, SIGQUIT cold, SIGHUP
no end), except for the one rule that its mode breaks.  Not a test module.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

from taskd.base import program_signals
from taskd.host import prctl
from tests.component import fake_output

STATUS_FD = int(os.environ["TASKD_STATUS_FD"])
MODE = os.environ.get("FAKE_MODE", "good")

READY = b'{"type":"ready"}\n'


def say(data: bytes) -> None:
    os.write(STATUS_FD, data)


def leave(number: int, frame: FrameType | None) -> None:
    tell_test("stop")
    say(b'{"type":"draining","left":0}\n')
    os._exit(0)


def tell_test(text: str) -> None:
    """Write into the socket in which the test reads what systemd is told, so that the order shows."""
    if address := os.environ.get("FAKE_NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(f"FAKE={text}".encode(), address)


def facts() -> str:
    """What a program was given, for the test that compares it with the promise."""
    status = Path("/proc/self/status").read_text()
    masks = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith("Sig")}
    descriptors = {
        fd: os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}")
    }
    return json.dumps(
        {
            "descriptors": descriptors,
            "blocked": masks["SigBlk"],
            "directory": os.getcwd(),
            "environment": dict(os.environ),
            "data": resource.getrlimit(resource.RLIMIT_DATA),
            "session": os.getsid(0) == os.getpid(),
        }
    )


def idle() -> None:
    while True:
        signal.pause()


def behave() -> None:  # noqa: PLR0912 - one case for each mode
    match MODE.split()[0]:
        case "needs-file":
            if not os.path.exists(MODE.split()[1]):
                sys.exit(77)
            say(READY)
        case "good":
            say(READY + b'{"type":"heartbeat","busy":2,"reserved":3,"done":7,"rss_bytes":1000}\n')
        case "troubled":
            say(READY + b'{"type":"heartbeat","troubles":[{"text":"the disk is full","since":1.0}]}\n')
        case "after-the-gate":
            Path(os.environ["FAKE_GATE"]).read_bytes()  # a FIFO: blocks until the test writes
            say(READY)
        case "facts":
            words = {"type": "last_words", "reason": "facts", "detail": FACTS}
            say(json.dumps(words).encode() + b"\n")
            sys.exit(0)
        case "never-ready":
            pass
        case "dies":
            say(b'{"type":"last_words","reason":"no module named shop","detail":"Traceback: ImportError"}\n')
            sys.exit(77)
        case "good-then-dies":
            say(READY)
            signal.sigtimedwait({signal.SIGUSR1}, 0.3)
            sys.exit(1)
        case "ignores-term":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            say(READY)
        case "ignores-all":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGQUIT, signal.SIG_IGN)
            say(READY)
        case "floods":
            say(READY)
            while True:
                say(b'{"type":"heartbeat","busy":1}\n' * 100)
        case "garbage":
            say(b"\xff\x00 not a status line\n{}\n[1]\n" + b"[" * 2000 + b"\n")
            say(b'{"type":"heartbeat","nobody":' + b"[" * 100_000 + b"\n")
            say(b'{"type":"heartbeat","busy":1%s}\n' % (b"0" * 400) + READY)
            say(b'{"type":"waiting","reason":"\xff"}\n')
        case "half-lines":
            for byte in READY:
                say(bytes([byte]))
            say(b'{"type":"heart')
        case "endless-line":
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            while True:
                say(b"x" * 65536)
        case "waits":
            say(b'{"type":"waiting","reason":"broker is away"}\n')
        case "drains-itself":
            say(READY)
            say(b'{"type":"draining","left":1}\n')
            sys.exit(0)
        case "detacher":
            if os.fork() == 0:
                os.setsid()
                shell = "echo $$ > $0.part; mv $0.part $0; exec sleep 600"
                os.execv("/bin/sh", ["/bin/sh", "-c", shell, os.environ["FAKE_PIDS"]])
            say(READY)
        case "orphan-maker":
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    say(b'{"type":"heartbeat","pids":[%d]}\n' % os.getpid())
                    say(READY)
                    idle()
                os._exit(0)
            os.wait()
        case _:
            fake_output.behave(MODE, say)
    idle()


if __name__ == "__main__":
    FACTS = facts()  # before anything is changed
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # settings that changed: a fake has none
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGQUIT, leave)
    program_signals.let_in(set())
    prctl.die_with_parent(int(os.environ["TASKD_SUPERVISOR_PID"]))
    behave()
