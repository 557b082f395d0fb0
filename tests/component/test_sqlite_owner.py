"""Whose the files of a database are, and who may read them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from taskd.base.errors import StorageError
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.config.stores import SqliteConfig

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")

NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def home() -> Iterator[Path]:
    """Give a directory that belongs to the user nobody; tmp_path lies where that user cannot go."""
    with TemporaryDirectory() as made:
        os.chmod(made, 0o750)
        os.chown(made, NOBODY, NOBODY)
        yield Path(made)


@contextmanager
def listening(directory: Path, node: str) -> Iterator[None]:
    """Have a worker of this name wait for messages of a broker in the directory."""
    broker = SqliteBroker(f"sqlite://{directory}/broker.db", SqliteConfig())
    try:
        with closing(broker.intake(node, ["mail"])):
            yield
    finally:
        broker.close()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o600), (0o077, 0o600), (0o002, 0o660), (0o007, 0o660)])
def test_a_database_is_never_for_everybody_to_read(tmp_path: Path, umask: int, mode: int) -> None:
    former = os.umask(umask)
    try:
        with listening(tmp_path, "by-hand"):
            files = [path for path in tmp_path.rglob("*") if path.is_file()]
            assert len(files) >= 2, "the log lies beside the database"
            assert {path.stat().st_mode & 0o777 for path in files} == {mode}
    finally:
        os.umask(former)


@needs_root
def test_what_root_makes_before_the_first_start_is_the_daemons(home: Path) -> None:
    with listening(home, "root"):
        assert {path.stat().st_uid for path in home.rglob("*")} == {NOBODY}
        with as_nobody(), listening(home, "daemon"):
            pass


@needs_root
def test_in_a_directory_of_root_it_is_roots(tmp_path: Path) -> None:
    with listening(tmp_path, "root"):
        assert {path.stat().st_uid for path in tmp_path.rglob("*")} == {0}


@needs_root
def test_a_file_of_another_user_is_named_with_the_remedy(home: Path) -> None:
    path = home / "broker.db"
    path.touch(0o644)
    remedy = f"belongs to user 0: chown {NOBODY} {path}"
    with as_nobody(), pytest.raises(StorageError, match=remedy), listening(home, "daemon"):
        pass
