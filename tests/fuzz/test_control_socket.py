"""Lines that no client should send to the control socket of a real supervisor: it lives."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests import fuzzing
from tests.component.supervised import daemon

pytestmark = pytest.mark.slow

REQUESTS = [
    b'{"jsonrpc": "2.0", "id": 1, "method": "status", "params": {}}\n',
    b'{"jsonrpc": "2.0", "id": "a", "method": "start", "params": {"name": "nobody"}}\n',
    b'{"jsonrpc": "2.0", "id": 1, "method": "logs", "params": {"name": "mail-1", "lines": 5}}\n',
    b'[{"jsonrpc": "2.0", "id": null, "method": "deaths", "params": []}]\n',
]


def test_no_line_ends_the_supervisor(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"mail": "good"}) as running:
        running.wait_for("mail-1", "READY")
        pid = running.pid

        def case(rng: random.Random) -> None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.connect(running.socket_path)
                client.settimeout(60.0)
                data = b"".join(fuzzing.mutated(rng, REQUESTS) for _ in range(rng.randrange(1, 4)))
                with suppress(BrokenPipeError, ConnectionResetError):
                    client.sendall(data)
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(65536):
                        pass

        fuzzing.each_case(2_000, case)

        assert running.row("mail-1")["state"] == "READY", running.log[-2000:]
        assert running.pid == pid
