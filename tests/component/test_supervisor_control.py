"""The control socket: what it answers, and what clients of every kind can do to it."""

from __future__ import annotations

import json
import random
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskd.base.errors import ControlError
from taskd.base.loop import Loop
from taskd.supervisor.control.client import ControlClient
from taskd.supervisor.control.server import MAX_CLIENTS, MAX_FRAME_BYTES, ControlServer
from tests.component.supervised import RunningSupervisor, daemon
from tests.waiting import wait_until


@contextmanager
def one_program(directory: Path) -> Iterator[RunningSupervisor]:
    with daemon(directory, modes={"mail": "good"}) as running:
        running.wait_for("mail-1", "READY")
        yield running


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningSupervisor]:
    """A daemon whose program a test may stop."""
    with one_program(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSupervisor]:
    """A daemon for tests that ask or are refused, and change nothing."""
    with one_program(tmp_path_factory.mktemp("shared")) as running:
        yield running


@pytest.fixture
def asked(shared: RunningSupervisor) -> Iterator[RunningSupervisor]:
    """The same daemon, which a test leaves as it was."""
    before = shared.row("mail-1")
    yield shared
    after = shared.row("mail-1")
    assert (after["state"], after["pid"], after["restarts"]) == ("READY", before["pid"], 0)
    assert "Traceback" not in shared.log


def connect(running: RunningSupervisor) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(running.socket_path)  # waits for its turn; with a time limit it would not
    client.settimeout(60.0)
    return client


def answer(client: socket.socket) -> dict[str, object]:
    with client.makefile("rb") as lines:
        answered = json.loads(lines.readline())
    assert isinstance(answered, dict)
    return answered


def test_status_tells_about_the_daemon_itself(asked: RunningSupervisor) -> None:
    own = asked.call("status")["taskd"]

    assert own["pid"] == asked.pid
    assert own["state"] == "READY"
    assert (own["programs_ready"], own["programs_wanted"]) == (1, 1)
    assert own["rss_bytes"] > 1_000_000


def test_a_stopped_program_stays_stopped_until_it_is_started(running: RunningSupervisor) -> None:
    running.call("stop", name="mail-1")
    row = running.wait_for("mail-1", "DOWN")
    assert (row["wanted"], row["pid"]) == (False, None)
    assert row["reason"] == "an operator asked: stop"

    running.call("start", name="mail-1")

    assert running.wait_for("mail-1", "READY")["wanted"] is True


def test_restart_replaces_the_process_without_counting_it_as_a_crash(running: RunningSupervisor) -> None:
    pid = running.row("mail-1")["pid"]

    running.call("restart", name="mail-1")
    wait_until(lambda: running.row("mail-1")["pid"] not in {pid, None})

    assert running.wait_for("mail-1", "READY")["restarts"] == 0


def test_a_table_of_the_configuration_means_all_of_its_programs(running: RunningSupervisor) -> None:
    rows = running.call("stop", name="mail")["programs"]

    assert [row["name"] for row in rows] == ["mail-1"]


def test_an_unknown_program_is_refused_with_the_known_names(asked: RunningSupervisor) -> None:
    with pytest.raises(ControlError, match="there is no program 'nail'; there are: mail-1"):
        asked.call("restart", name="nail")


@pytest.mark.parametrize("name", [5, ["mail-1"], {"a": 1}, "nobody\n", "\x1b", True, ""])
@pytest.mark.parametrize("method", ["deaths", "logs", "stop", "signal", "scale"])
def test_a_name_that_cannot_be_one_is_refused_and_is_no_internal_error(
    asked: RunningSupervisor, method: str, name: object
) -> None:
    with pytest.raises(ControlError) as caught:
        asked.call(method, name=name, signal="TERM", processes=2)
    assert "internal" not in str(caught.value)


def test_an_unknown_method_is_refused_with_the_known_ones(asked: RunningSupervisor) -> None:
    with pytest.raises(ControlError, match=r"no method 'explode'; there are: .*restart, .*status"):
        asked.call("explode")


def test_no_daemon_is_a_clear_error(tmp_path: Path) -> None:
    path = str(tmp_path / "nothing")

    with (
        ControlClient(path) as client,
        pytest.raises(ControlError, match=f"not running: nobody listens on {path}"),
    ):
        client.call("status")


def test_one_connection_serves_many_calls(asked: RunningSupervisor) -> None:
    with ControlClient(asked.socket_path) as client:
        assert client.call("status") is not None
        assert client.call("status") is not None


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\xff\xfe garbage\n", -32700),
        (b"{\n", -32700),
        (b"[]\n", -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"status"}\n', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":7}\n', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"nothing"}\n', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"status","params":{"a":' + b"[" * 60_000 + b"\n", -32700),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"stop","params":{"name":' + b"[" * 90 + b"]" * 90 + b"}}\n",
            -32000,
        ),
        (b'{"jsonrpc":"2.0","id":1,"method":"stop","params":{"name":{}}}\n', -32000),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"scale","params":{"name":"mail","processes":"\xe2\x88\x9e"}}\n',
            -32000,
        ),
        (b'{"jsonrpc":"2.0","id":1,"method":"signal","params":{"name":"mail","signal":9999}}\n', -32000),
        (b'{"jsonrpc":"2.0","id":1,"method":"shutdown","params":{"cold":"yes"}}\n', -32000),
    ],
)
def test_a_wrong_request_gets_the_error_of_json_rpc_and_the_connection_lives_on(
    asked: RunningSupervisor, frame: bytes, code: int
) -> None:
    with connect(asked) as client:
        client.sendall(frame)
        error = answer(client)["error"]
        assert isinstance(error, dict)
        assert error["code"] == code

        client.sendall(b'{"jsonrpc":"2.0","id":5,"method":"status"}\n')
        assert answer(client)["id"] == 5


def test_garbage_of_every_kind_is_answered_or_cut_off_and_others_never_notice(
    running: RunningSupervisor,
) -> None:
    pid = running.row("mail-1")["pid"]
    chance = random.Random(7)
    whole = b'{"jsonrpc":"2.0","id":1,"method":"status","params":{}}\n'
    for _ in range(300):
        broken = bytearray(whole * chance.randint(1, 3))
        for _ in range(chance.randint(1, 8)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        with connect(running) as client:
            client.sendall(bytes(broken[: chance.randint(1, len(broken))]))  # and often only half of it

    row = running.row("mail-1")
    assert (row["state"], row["pid"]) == ("READY", pid)
    assert "Traceback" not in running.log


def test_callers_that_come_all_at_once_wait_for_their_turn(asked: RunningSupervisor) -> None:
    with ThreadPoolExecutor(24) as callers:
        answers = list(callers.map(lambda _: asked.row("mail-1")["state"], range(400)))

    assert set(answers) == {"READY"}


def test_a_client_that_floods_leaves_the_others_their_turn(asked: RunningSupervisor) -> None:
    status = b'{"jsonrpc":"2.0","id":1,"method":"status"}\n'
    with connect(asked) as flood:
        flood.sendall(status * 3000)  # all at once, read by nobody for now

        assert asked.row("mail-1")["state"] == "READY"

        with flood.makefile("rb") as lines:
            assert sum(1 for _ in zip(range(3000), lines, strict=False)) == 3000


def test_half_a_request_is_completed_later(asked: RunningSupervisor) -> None:
    with connect(asked) as client:
        client.sendall(b'{"jsonrpc":"2.0","id":1,')
        assert asked.row("mail-1")["state"] == "READY"  # others are served meanwhile

        client.sendall(b'"method":"status"}\n')

        assert answer(client)["id"] == 1


def test_a_notification_is_carried_out_without_an_answer(running: RunningSupervisor) -> None:
    with connect(running) as client:
        client.sendall(b'{"jsonrpc":"2.0","method":"stop","params":{"name":"mail-1"}}\n')

        running.wait_for("mail-1", "DOWN")


def test_an_endless_request_is_cut_off(asked: RunningSupervisor) -> None:
    with connect(asked) as client, pytest.raises((BrokenPipeError, ConnectionResetError)):
        client.sendall(bytes(1 << 30))

    assert asked.row("mail-1")["state"] == "READY"


def test_a_request_above_the_limit_is_answered_before_the_cut(asked: RunningSupervisor) -> None:
    with connect(asked) as client:
        client.sendall(b"x" * (MAX_FRAME_BYTES + 1))

        error = answer(client)["error"]

        assert isinstance(error, dict)
        assert "65536 bytes" in error["message"]
        assert client.recv(1) == b""


def test_more_clients_than_allowed_are_turned_away(running: RunningSupervisor) -> None:
    clients = [connect(running) for _ in range(MAX_CLIENTS)]
    try:
        with connect(running) as one_more:
            error = answer(one_more)["error"]
            assert isinstance(error, dict)
            assert "32 clients are connected already" in error["message"]
            assert one_more.recv(1) == b""
        with pytest.raises(ControlError, match="32 clients are connected already"):
            running.call("status")
    finally:
        for client in clients:
            client.close()

    wait_until(lambda: running.wait_for("mail-1", "READY"))


def test_a_client_that_reads_no_answers_is_dropped_and_others_are_served(asked: RunningSupervisor) -> None:
    requests = b'{"jsonrpc":"2.0","id":1,"method":"status"}\n' * 1_000_000
    with connect(asked) as client, pytest.raises((BrokenPipeError, ConnectionResetError)):
        client.sendall(requests)

    assert asked.row("mail-1")["state"] == "READY"


def test_a_client_that_says_nothing_is_dropped_after_a_while() -> None:
    loop = Loop()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind("")  # an abstract address of the kernel's choice
    listening.listen(1)
    server = ControlServer(loop, listening, {}, idle_s=0.05)
    server.start()
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.connect(listening.getsockname())
        client.setblocking(False)
        loop.run_once()  # accepts
        loop.run_once()  # the idle timer

        assert client.recv(1) == b""
    finally:
        server.kill()
        client.close()
        listening.close()
        loop.close()


def test_commands_are_refused_while_the_daemon_stops(tmp_path: Path) -> None:
    with daemon(tmp_path, modes={"a": "ignores-term"}, stop_timeout=300) as running:
        running.wait_for("a-1", "READY")
        running.signal(signal.SIGTERM)
        running.wait_for("a-1", "DRAINING")

        with pytest.raises(ControlError, match="taskd is stopping"):
            running.call("start", name="a-1")
        assert running.call("status")["taskd"]["state"] == "STOPPING"


def test_commands_that_cross_each_other_are_all_obeyed_and_the_last_one_holds(
    running: RunningSupervisor,
) -> None:
    for verb in ("stop", "start", "restart", "stop", "stop", "restart", "start", "start"):
        running.call(verb, name="mail-1")  # none waits for the one before, and none is refused

    assert running.wait_for("mail-1", "READY")["wanted"] is True
    running.call("restart", name="mail-1")
    running.call("stop", name="mail-1")
    assert running.wait_for("mail-1", "DOWN")["wanted"] is False
