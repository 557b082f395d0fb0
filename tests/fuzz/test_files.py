"""The configuration, the small languages in it, and beat's store: mutated, each is read or refused."""

from __future__ import annotations

import random
import re
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from taskd.base.errors import TaskdError
from taskd.base.rates import parse_rate
from taskd.beat.entries import decode_entry, encode_entry
from taskd.config import crontab, when
from taskd.config.env_file import parse_env
from taskd.config.load import check
from taskd.config.provenance import scan
from taskd.config.schedule import BeatEntryConfig
from taskd.config.units import parse_duration, parse_size
from taskd.storage.redis.address import address_of
from taskd.storage.sqlite.wake import WakeListener, WakeSender
from tests import fuzzing

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "etc" / "taskd.toml"


def test_the_checker_reads_or_refuses_any_file(tmp_path: Path) -> None:
    example = EXAMPLE.read_bytes()
    bare = re.sub(rb"(?m)^#(\w+ = )", rb"\1", example)  # with all the options that it only shows
    path = tmp_path / "taskd.toml"

    def case(rng: random.Random) -> None:
        path.write_bytes(fuzzing.mutated(rng, [example, bare]))
        config, problems = check(str(path), {"A": "b"})
        assert config is not None or problems
        assert all(str(problem) for problem in problems)

    fuzzing.each_case(1_000, case)


def test_small_languages() -> None:
    samples = [b"30s", b"1h30m", b"512MiB", b"10/m", b"*/5 0-3 1,2 * mon-fri", b"2026-03-01T02:30:00+01:00"]
    samples += [b"redis://u:p@h:1/0?ssl_ca_certs=/x", b"A=b\nexport C='d'\n#x"]
    samples += [b'[worker.a]\nqueues = ["a"]\n']

    def redis(text: str) -> object:
        return address_of(text, timeout_s=1.0, master="")

    readers = (parse_duration, parse_size, parse_rate, crontab.parse, when.moment, redis, parse_env, scan)

    def case(rng: random.Random) -> None:
        text = fuzzing.mutated(rng, samples).decode("utf-8", rng.choice(("replace", "surrogateescape")))
        for read in readers:
            with suppress(ValueError, TaskdError):
                read(text)

    fuzzing.each_case(20_000, case)


def test_entries_in_the_store_of_beat() -> None:
    entry = encode_entry(BeatEntryConfig(name="a", task="t", every=60.0, args=(1,), kwargs={"a": [1]}))

    def case(rng: random.Random) -> None:
        with suppress(ValueError):
            decode_entry(fuzzing.mutated(rng, [entry]))

    fuzzing.each_case(20_000, case)


def test_names_in_a_wake_directory(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    sqlite3.connect(path).close()
    listener = WakeListener(str(path), [1, 2], listener_id="id")
    sender = WakeSender(str(path))
    directory = next(each for each in tmp_path.iterdir() if each.is_dir())

    def case(rng: random.Random) -> None:
        name = (
            fuzzing.mutated(rng, [b"id.1.1-2", b"x.all", b"x.1"]).replace(b"/", b"").replace(b"\0", b"")[:200]
        )
        with suppress(OSError, ValueError):
            (directory / name.decode("utf-8", "surrogateescape")).touch()
        sender.wake([1])
        listener.clear()

    fuzzing.each_case(500, case)
    listener.close()
    sender.close()
