"""taskctl store: the formats and sizes of what taskd keeps, whether it is sound, and made small again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest

from taskd.base import exit_codes
from taskd.base.formats import Formats, FormatStep
from taskd.brokers.redis import keys
from taskd.brokers.sqlite import schema as broker_schema
from taskd.brokers.sqlite import store as broker_store
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.cli.taskctl import main
from taskd.config.stores import SqliteConfig
from taskd.protocol.delivery import Ack, Outgoing
from taskd.storage.sqlite import upkeep
from taskd.storage.sqlite.schema import SqlStep
from tests import released, services
from tests.contract.brokers import message

Run = Callable[..., str]
STORES = ["broker", "results", "revoked", "beat", "deaths"]
FORMAT = broker_schema.SCHEMA.format


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "taskd.toml"
    path.write_text(
        'broker = "sqlite://broker.db"\nresults = "sqlite://results.db"\n'
        '[supervisor]\nstate_directory = "."\n'
    )
    return path


@pytest.fixture
def run(file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run taskctl store, check its exit status, and return what it printed."""
    monkeypatch.chdir(file.parent)

    def call(*words: str, status: int = exit_codes.OK) -> str:
        found = main(["--config", str(file), "store", *words])
        out, err = capsys.readouterr()
        assert found == status, f"{words} exited {found}: {out}{err}"
        return out + err

    return call


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[SqliteBroker]:
    with closing(SqliteBroker(f"sqlite://{tmp_path}/broker.db", SqliteConfig())) as opened:
        yield opened


def stores(run: Run, *names: str, status: int = exit_codes.OK) -> dict[str, dict[str, Any]]:
    listed = json.loads(run("status", "--json", *names, status=status))["stores"]
    return {each["store"]: each for each in listed}


def damaged(path: Path) -> Path:
    """Make a file that is not a database."""
    path.write_bytes(b"not a database, whatever its name says" * 200)
    return path


def fill_and_drain(broker: SqliteBroker, count: int) -> None:
    intake = broker.intake("w", ["mail"])
    large = Outgoing(routing_key="mail", headers=b"{}", body=b"x" * 20_000)
    broker.publisher().publish([large] * count)
    assert not intake.settle([Ack(each.tag) for each in intake.claim(count)])
    intake.close()


# -- status ----------------------------------------------------------------------------------


def test_before_the_first_start_nothing_is_there_and_looking_makes_nothing(run: Run, tmp_path: Path) -> None:
    found = stores(run)

    assert list(found) == STORES
    assert {each["state"] for each in found.values()} == {"not made yet"}
    assert [each.name for each in tmp_path.iterdir()] == ["taskd.toml"]
    assert run("upgrade") == "nothing to upgrade\n"
    assert run("compact") == "nothing to compact\n"


def test_formats_and_sizes_are_shown_beside_a_running_broker(
    run: Run, broker: SqliteBroker, tmp_path: Path
) -> None:
    fill_and_drain(broker, 50)
    broker.publisher().publish([message("x")])

    found = stores(run, "broker")["broker"]

    assert (found["format"], found["lowest_reader"], found["known_format"]) == (FORMAT, 2, FORMAT)
    assert found["state"] == "current"
    assert found["place"] == str(tmp_path / "broker.db")
    assert found["dead_bytes"] > 50 * 20_000 > found["live_bytes"] > 4096
    assert found["size_bytes"] == found["live_bytes"] + found["dead_bytes"]
    assert "current" in run("status")


@pytest.mark.parametrize("release", released.releases())
def test_every_file_of_a_release_is_known_and_sound(run: Run, tmp_path: Path, release: str) -> None:
    released.unpacked(release, tmp_path)

    found = stores(run)

    assert list(found) == STORES
    assert all(each["format"] for each in found.values())
    assert run("check") == "all stores are sound\n"  # each of them is there


def test_what_only_a_newer_taskd_can_read_is_said_of_the_one_store(
    run: Run, broker: SqliteBroker, tmp_path: Path
) -> None:
    broker.desk().queues()
    connection = sqlite3.connect(tmp_path / "broker.db")
    connection.execute("INSERT OR REPLACE INTO taskd_schema VALUES('broker', 7), ('broker.format', 9)")
    connection.commit()
    connection.close()

    found = stores(run)

    assert found["broker"]["state"] == "needs a newer taskd, which knows format 7"
    assert found["results"]["state"] == "not made yet"
    assert "upgrade taskd" in run("upgrade", status=exit_codes.FAILURE)
    assert "broker format 9" in run("check", status=exit_codes.FAILURE)


def test_what_a_newer_taskd_has_added_to_is_used_on(run: Run, broker: SqliteBroker, tmp_path: Path) -> None:
    broker.desk().queues()
    connection = sqlite3.connect(tmp_path / "broker.db")
    connection.execute(f"INSERT OR REPLACE INTO taskd_schema VALUES('broker.format', {FORMAT + 1})")
    connection.commit()
    connection.close()

    assert stores(run)["broker"]["state"] == "used by a newer taskd too"
    assert run("upgrade") == "nothing to upgrade\n"


def test_keys_on_redis_have_a_format_and_no_size(run: Run, file: Path) -> None:
    url = services.redis_url()
    file.write_text(f'broker = "{url}"\nresults = "{url}"\n[beat]\nstore = "{url}"\n')

    found = stores(run)

    assert list(found) == ["broker", "revoked", "beat", "deaths"]
    assert {found[name]["format"] for name in ("broker", "revoked", "beat")} == {1}
    assert found["broker"]["size_bytes"] is None
    assert run("check", "broker", "beat") == "all stores are sound\n"
    assert run("compact", "broker") == "nothing to compact\n"


def test_a_store_that_cannot_be_reached_does_not_hide_the_others(run: Run, file: Path) -> None:
    with services.port_without_listener() as port:
        file.write_text(f'broker = "redis://127.0.0.1:{port}/0"\nresults = "sqlite://results.db"\n')

        found = stores(run, status=exit_codes.FAILURE)
        said = run("check", "broker", status=exit_codes.FAILURE)

    assert "cannot be reached" in found["broker"]["error"]
    assert found["results"]["state"] == "not made yet"
    assert said.startswith(f"broker: redis://127.0.0.1:{port}/0 cannot be reached")


def test_the_state_of_an_unreadable_store_is_a_word_and_its_error_follows_the_table(
    run: Run, broker: SqliteBroker, tmp_path: Path
) -> None:
    broker.desk().queues()
    path = damaged(tmp_path / "results.db")

    shown = run("status", status=exit_codes.FAILURE).splitlines()
    found = stores(run, status=exit_codes.FAILURE)

    row = next(line for line in shown if line.startswith("results "))
    assert row.split() == ["results", "-", "unreadable", "-", "-", "-", str(path)]
    assert shown[-1].startswith(f"results: {path} is not a sound SQLite database")
    assert found["results"]["state"] == "unreadable"
    assert found["results"]["error"].startswith(f"{path} is not a sound")
    assert (found["broker"]["state"], found["broker"]["error"]) == ("current", "")


@pytest.mark.parametrize("verb", ["status", "upgrade", "check", "compact"])
def test_the_help_of_each_verb_says_which_stores_there_are(run: Run, verb: str) -> None:
    said = " ".join(run(verb, "--help").split())

    assert f"STORE is {', '.join(STORES[:-1])} or {STORES[-1]}" in said


def test_a_store_of_another_name_is_refused_with_those_there_are(run: Run, file: Path) -> None:
    assert "'broker', 'results'" in run("status", "brokr", status=exit_codes.USAGE)
    file.write_text('broker = "memory://"\nresults = "null://"\n')
    assert "it keeps: beat, deaths" in run("status", "broker", status=exit_codes.FAILURE)


# -- upgrade ---------------------------------------------------------------------------------


def test_a_file_of_a_former_format_is_brought_up(
    run: Run, broker: SqliteBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.publisher().publish([message("x")])
    step = SqlStep(FORMAT + 1, 2, ("ALTER TABLE message ADD COLUMN lane INTEGER NOT NULL DEFAULT 0",))
    newer = Formats("broker", (*broker_schema.SCHEMA.steps, step))
    monkeypatch.setattr(broker_store, "SCHEMA", newer)

    assert stores(run)["broker"]["state"] == f"upgrade to {FORMAT + 1} is due"
    assert run("upgrade") == f"broker: format {FORMAT} -> {FORMAT + 1}\n"
    assert stores(run)["broker"]["state"] == "current"

    broker.publisher().publish([message("y")])
    connection = sqlite3.connect(tmp_path / "broker.db")
    assert connection.execute("SELECT lane FROM message").fetchall() == [(0,), (0,)]
    connection.close()


def test_keys_on_redis_are_brought_up(
    run: Run, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = services.redis_url()
    file.write_text(f'broker = "{url}"\nresults = "{url}"\n[redis]\nkey_prefix = "{tmp_path}:"\n')
    monkeypatch.setattr(keys, "FORMATS", Formats("broker", (FormatStep(1, 1, ()), FormatStep(2, 1, ()))))

    assert json.loads(run("upgrade", "broker", "--json"))["upgraded"] == [
        {"store": "broker", "from": 1, "to": 2}
    ]
    assert stores(run, "broker")["broker"]["format"] == 2


def test_a_bad_store_does_not_keep_the_others_from_their_upgrade(
    run: Run, broker: SqliteBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.publisher().publish([message("x")])
    bad = damaged(tmp_path / "results.db")
    step = SqlStep(FORMAT + 1, 2, ("ALTER TABLE message ADD COLUMN lane INTEGER NOT NULL DEFAULT 0",))
    monkeypatch.setattr(broker_store, "SCHEMA", Formats("broker", (*broker_schema.SCHEMA.steps, step)))

    said = run("upgrade", status=exit_codes.FAILURE)

    assert f"broker: format {FORMAT} -> {FORMAT + 1}\n" in said
    assert f"results: {bad} is not a sound SQLite database" in said
    assert "nothing to upgrade" not in said
    again = json.loads(run("upgrade", "--json", "broker", "results", status=exit_codes.FAILURE))
    assert again["upgraded"] == []
    assert [each["store"] for each in again["failed"]] == ["results"]


# -- check -----------------------------------------------------------------------------------


def test_stores_that_are_not_made_yet_are_named_and_not_called_sound(
    run: Run, broker: SqliteBroker, file: Path
) -> None:
    assert run("check") == f"nothing to check, not made yet: {', '.join(STORES)}\n"
    assert json.loads(run("check", "--json"))["not_made"] == STORES

    broker.desk().queues()
    assert run("check") == (
        "nothing to check, not made yet: results, revoked, beat, deaths\nall other stores are sound\n"
    )
    assert run("check", "broker") == "all stores are sound\n"

    file.write_text('broker = "memory://"\n[supervisor]\nstate_directory = "."\n')
    assert run("check") == "nothing to check, not made yet: results, beat, deaths\n"


def test_a_problem_names_its_place_once(run: Run, broker: SqliteBroker, tmp_path: Path) -> None:
    path = damaged(tmp_path / "results.db")
    broker.publisher().publish([message("x")])
    connection = sqlite3.connect(tmp_path / "broker.db")
    connection.execute("DELETE FROM message")
    connection.commit()
    connection.close()

    said = run("check", status=exit_codes.FAILURE)

    assert f"{path}: {path}" not in said
    assert f"results: {path} is not a sound" in said
    assert f"broker: {tmp_path}/broker.db: places without their message: 1\n" in said
    assert "are sound" not in said


def test_rows_that_contradict_others_are_found(run: Run, broker: SqliteBroker, tmp_path: Path) -> None:
    broker.publisher().publish([message("x"), message("y"), message("z")])
    connection = sqlite3.connect(tmp_path / "broker.db")
    connection.execute("DELETE FROM message WHERE id=1")
    connection.execute("DELETE FROM ready WHERE id=2")
    connection.execute("INSERT INTO claimed SELECT id, 99, queue, rank, 1, 0 FROM ready WHERE id=3")
    connection.commit()
    connection.close()

    said = run("check", status=exit_codes.FAILURE)

    assert "messages that stand in no queue: 1" in said
    assert "messages that stand in more than one place: 1" in said
    assert "places without their message: 1" in said
    assert "claims of nobody: 1" in said


def test_a_damaged_file_is_found(run: Run, broker: SqliteBroker, tmp_path: Path) -> None:
    fill_and_drain(broker, 20)
    broker.close()
    path = tmp_path / "broker.db"
    whole = bytearray(path.read_bytes())
    whole[3 * 4096 : 20 * 4096] = b"\xff" * 17 * 4096
    path.write_bytes(whole)

    said = json.loads(run("check", "--json", "broker", status=exit_codes.FAILURE))

    assert said["ok"] is False
    assert said["problems"][0]["store"] == "broker"


def test_a_register_that_is_none_is_found(run: Run, tmp_path: Path) -> None:
    (tmp_path / "deaths.json").write_text("[{]")

    said = run("check", "deaths", status=exit_codes.FAILURE)

    assert "not a register of deaths" in said
    assert said.count("deaths.json") == 1


# -- compact ---------------------------------------------------------------------------------


def test_a_file_that_shrinks_in_steps_is_compacted_under_a_living_broker(
    run: Run, broker: SqliteBroker, tmp_path: Path
) -> None:
    fill_and_drain(broker, 300)
    publisher = broker.publisher()
    publisher.publish([message("before")])

    assert "broker: " in run("compact")

    assert (tmp_path / "broker.db").stat().st_size < 300_000
    publisher.publish([message("after")])
    assert [each.body for each in broker.intake("w", ["mail"]).claim(5)] == [b"before", b"after"]
    assert run("check", "broker") == "all stores are sound\n"


def test_a_bad_store_does_not_keep_the_others_from_being_compacted(
    run: Run, broker: SqliteBroker, tmp_path: Path
) -> None:
    fill_and_drain(broker, 300)
    bad = [damaged(tmp_path / name) for name in ("results.db", "broker.db.revoked")]

    said = run("compact", status=exit_codes.FAILURE)

    assert "broker: " in said
    assert (tmp_path / "broker.db").stat().st_size < 300_000
    assert f"results: {bad[0]} is not a sound SQLite database" in said
    assert f"revoked: {bad[1]} is not a sound SQLite database" in said
    again = json.loads(run("compact", "--json", status=exit_codes.FAILURE))
    assert [each["store"] for each in again["compacted"]] == ["broker"]
    assert [each["store"] for each in again["failed"]] == ["results", "revoked"]
    assert "nothing to compact" not in run("compact", "results", status=exit_codes.FAILURE)


def old_file(path: Path) -> None:
    """Make a file as taskd made them before they could shrink."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA auto_vacuum=NONE")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE taskd_schema(room TEXT PRIMARY KEY, version INTEGER NOT NULL)")
    connection.commit()
    connection.close()


def test_an_old_file_is_copied_once_and_shrinks_by_itself_from_then_on(
    run: Run, broker: SqliteBroker, tmp_path: Path
) -> None:
    old_file(tmp_path / "broker.db")
    fill_and_drain(broker, 300)
    publisher = broker.publisher()
    publisher.publish([message("before")])
    assert "broker does not shrink by itself: taskctl store compact broker" in run("status")

    said = run("compact", "broker")

    assert said.endswith("; it shrinks by itself from now on\n")
    assert "by itself" not in run("compact", "broker")
    assert "by itself" not in run("status")
    assert (tmp_path / "broker.db").stat().st_size < 300_000
    connection = sqlite3.connect(tmp_path / "broker.db")
    assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    connection.close()
    publisher.publish([message("after"), *[message("x" * 20_000)] * 50])
    claimed = broker.intake("w", ["mail"]).claim(60)
    assert [each.body for each in claimed[:2]] == [b"before", b"after"]
    assert run("check", "broker") == "all stores are sound\n"


def test_it_asks_before_others_have_to_wait_for_a_copy(
    run: Run, broker: SqliteBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_file(tmp_path / "broker.db")
    broker.publisher().publish([message("x")])
    monkeypatch.setattr(upkeep, "_QUICK_BYTES", 1000)
    monkeypatch.setattr(upkeep, "users", lambda _path: [1, 2])
    monkeypatch.setattr("click.confirm", asked := Asked())

    run("compact", "broker", status=exit_codes.FAILURE)
    assert "2 processes use it: writers wait" in asked.question
    run("compact", "broker", "--yes")
    run("compact", "broker")  # it shrinks in steps now: nothing to ask


class Asked:
    """Answers no."""

    def __init__(self) -> None:
        self.question = ""

    def __call__(self, question: str, **_: object) -> None:
        assert not self.question, "asked twice"
        self.question = question
        raise click.Abort


def test_rooms_of_one_file_are_compacted_together(run: Run, broker: SqliteBroker, file: Path) -> None:
    file.write_text('broker = "sqlite://broker.db"\nresults = "sqlite://broker.db"\n')
    broker.desk().queues()

    assert len(json.loads(run("compact", "--json"))["compacted"]) == 1
