"""The control socket takes its place from nobody: what lies there is removed only if it is a dead socket."""

from __future__ import annotations

import os
import socket
import sqlite3
from pathlib import Path

import pytest

from taskd.base.errors import ControlError
from taskd.config.load import check_bytes
from taskd.supervisor.control.socket_lock import ControlSocket
from taskd.supervisor.output.rotation import RotatedFile


def test_a_dead_socket_is_replaced_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    ControlSocket(str(path)).close()
    assert not path.exists()


def test_a_plain_file_at_its_path_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "broker.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table message (body)")

    with pytest.raises(
        ControlError, match=r"broker\.db: something that is not a socket lies there; move it away"
    ):
        ControlSocket(str(path))

    with sqlite3.connect(path) as connection:
        assert connection.execute("select count(*) from message").fetchone() == (0,)


def test_a_socket_on_which_another_program_listens_is_refused_and_kept(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX) as other,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
    ):
        other.bind(str(tmp_path / "stream"))
        other.listen()
        datagrams.bind(str(tmp_path / "datagrams"))
        for path in (tmp_path / "stream", tmp_path / "datagrams"):
            with pytest.raises(ControlError, match="another program listens there"):
                ControlSocket(str(path))
            assert path.is_socket()


def test_a_socket_that_somebody_else_has_put_there_meanwhile_is_kept_at_the_end(tmp_path: Path) -> None:
    ours = ControlSocket(str(tmp_path / "s"))
    os.rename(tmp_path / "s", tmp_path / "moved")
    (tmp_path / "s").write_text("precious")

    ours.close()

    assert (tmp_path / "s").read_text() == "precious"


def test_a_link_or_another_s_file_instead_of_the_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "s.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(ControlError, match="cannot be made"):
        ControlSocket(str(tmp_path / "s"))
    (tmp_path / "uv.lock").write_text("version = 1")
    with pytest.raises(ControlError, match="is not one of taskd's"):
        ControlSocket(str(tmp_path / "uv"))
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "uv.lock").read_text() == "version = 1"


def test_a_log_file_that_is_a_link_or_a_fifo_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("")
    (tmp_path / "link.log").symlink_to(tmp_path / "precious")
    os.mkfifo(tmp_path / "fifo.log")
    for name in ("link.log", "fifo.log"):
        with pytest.raises(OSError, match=name):
            RotatedFile(str(tmp_path / name), max_bytes=0, backups=0).write(b"line\n")
    assert (tmp_path / "precious").read_text() == ""


_FILE = 'app = "a:b"\n{}\n[supervisor]\ncontrol_socket = "{}"\n[log]\ndirectory = "."\n[worker.mail]\n'


@pytest.mark.parametrize(
    ("broker", "control_socket", "taken_by"),
    [
        ("broker.db", "broker.db", "broker"),
        ("broker.db", "broker.db-wal", "broker"),
        ("s.state", "s", "broker"),
        ("broker.db", "mail-1.log", "log.directory"),
    ],
)
def test_the_check_refuses_two_keys_that_name_one_file(
    tmp_path: Path, broker: str, control_socket: str, taken_by: str
) -> None:
    text = _FILE.format(f'broker = "sqlite://{broker}"', control_socket)

    config, problems = check_bytes(text.encode(), str(tmp_path / "taskd.toml"), {})

    assert config is None
    assert f"is taken by {taken_by} already; expected a path of its own" in str(problems[0])


def test_the_check_of_a_machine_refuses_what_is_not_a_socket_at_the_path_of_the_socket(
    tmp_path: Path,
) -> None:
    (tmp_path / "precious").touch()
    text = _FILE.format("", "precious")

    _, problems = check_bytes(text.encode(), str(tmp_path / "taskd.toml"), {}, machine=True)

    assert "supervisor.control_socket: " in str(problems[0])
    assert "is there and is not a socket" in str(problems[0])
