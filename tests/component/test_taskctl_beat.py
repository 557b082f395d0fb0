"""taskctl beat: entries at run time, with and without a beat that runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from taskd.base import clock, exit_codes
from taskd.beat.stores.base import Declared
from taskd.beat.stores.factory import open_store
from taskd.brokers.factory import connect
from taskd.cli.taskctl import main
from taskd.config.load import load
from taskd.config.schedule import BeatEntryConfig
from taskd.config.stores import Stores
from taskd.protocol.status import Ready
from tests.component.beat_process import Program
from tests.waiting import wait_until

Run = Callable[..., str]

#: Patience for a busy machine; without a wake-up beat would look after ten seconds.
AT_ONCE_S = 8.0

_FILE = """
broker = "sqlite://broker.db"
[beat]
run = "always"
[beat.schedule.nightly]
task = "shop.report"
cron = "0 3 * * *"
args = [1]
"""

#: A broker without a file, which nobody asks here.
_OF_A_SERVER = """
broker = "redis://localhost:1/0"
results = "null://"
[supervisor]
state_directory = "state"
[beat]
run = "always"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "taskd.toml"
    path.write_text(_FILE)
    return path


@pytest.fixture
def run(file: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run taskctl beat, check its exit status, and return what it printed to stdout and stderr."""

    def call(*words: str, status: int = exit_codes.OK) -> str:
        found = main(["--config", str(file), "beat", *words])
        out, err = capsys.readouterr()
        assert found == status, f"{words} exited {found}: {out}{err}"
        return out + err

    return call


def listed(run: Run) -> dict[str, dict[str, object]]:
    return {each["name"]: each for each in json.loads(run("list", "--json"))["entries"]}


def test_looking_makes_no_store(run: Run, tmp_path: Path) -> None:
    assert "nightly" in run("list")
    assert json.loads(run("history", "--json"))["decisions"] == []
    run("next")

    assert not (tmp_path / "beat.db").exists()


def test_coming_runs_fill_a_screen_unless_more_are_asked_for(run: Run) -> None:
    run("add", "often", "--every", "1m", "--task", "shop.tick")

    table = run("next").splitlines()
    assert len(table) == 1 + 20 + 2
    assert table[-1] == "there are more than 20; --count shows more of them"
    assert len(run("next", "often", "--count", "30").splitlines()) == 1 + 30 + 2
    answer = json.loads(run("next", "--json"))
    assert (len(answer["runs"]), answer["more"]) == (20, True)
    assert json.loads(run("next", "nightly", "--for", "47h", "--json"))["more"] is False


def test_an_entry_is_added_changed_and_removed(run: Run) -> None:
    words = ("--task", "shop.clean", "--args", "[1, 2]", "--queue", "slow", "--overlap", "skip")
    run("add", "clean", "0 4 * * sun", "--zone", "Europe/Berlin", *words)
    run("set", "clean", "--every", "5m", "--priority", "3")

    found = listed(run)["clean"]
    assert found["source"] == "run-time"
    assert found["entry"] == {
        "every": 300.0,
        "timezone": "Europe/Berlin",
        "name": "clean",
        "task": "shop.clean",
        "args": [1, 2],
        "queue": "slow",
        "priority": 3,
        "overlap": "skip",
    }

    run("remove", "clean")
    assert "clean" not in listed(run)


def test_an_entry_of_the_file_is_hidden_by_a_change_and_comes_back(run: Run) -> None:
    assert "hides the one of the file" in run("set", "nightly", "--queue", "slow")
    changed = listed(run)["nightly"]
    assert (changed["source"], changed["hides"]) == ("run-time", ["file"])
    assert changed["entry"]["args"] == [1]  # type: ignore[index]

    assert "counts again" in run("remove", "nightly")

    assert listed(run)["nightly"]["source"] == "file"
    assert "remove it there" in run("remove", "nightly", status=exit_codes.FAILURE)


def test_a_paused_entry_has_no_next_run(run: Run) -> None:
    run("pause", "nightly")
    assert "paused by" in run("list")
    assert json.loads(run("next", "--json"))["runs"] == []

    assert "resumed" in run("resume", "nightly")
    assert "was not paused" in run("resume", "nightly")

    assert len(json.loads(run("next", "--for", "48h", "--json"))["runs"]) == 2


def test_the_coming_day_is_in_the_order_of_time_and_bounded(run: Run) -> None:
    run("add", "hourly", "@hourly", "--task", "shop.tick")

    coming = json.loads(run("next", "--for", "24h", "--count", "99", "--json"))["runs"]

    assert [each["at"] for each in coming] == sorted(each["at"] for each in coming)
    names = [each["name"] for each in coming]
    assert (names.count("hourly"), names.count("nightly")) == (24, 1)
    assert {each["name"] for each in json.loads(run("next", "nightly", "--json"))["runs"]} == {"nightly"}
    assert "more than 3" in run("next", "--count", "3")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("add", "x", "--every", "1m"), exit_codes.USAGE, "--task is missing"),
        (("add", "x", "--task", "t"), exit_codes.CONFIG, "none of every, cron"),
        (("add", "x", "61 * * * *", "--task", "t"), exit_codes.CONFIG, "minute"),
        (("add", "x y", "--every", "1m", "--task", "t"), exit_codes.CONFIG, "not accepted"),
        (("add", "x", "--every", "1m", "--task", "t", "--args", "{"), exit_codes.USAGE, "JSON"),
        (("set", "nightly"), exit_codes.USAGE, "nothing to change"),
        (("set", "nightli", "--queue", "x"), exit_codes.FAILURE, 'did you mean "nightly"?'),
        (("pause", "nightli"), exit_codes.FAILURE, 'did you mean "nightly"?'),
        (("history", "nightli"), exit_codes.FAILURE, 'did you mean "nightly"?'),
    ],
)
def test_what_is_wrong_is_named(words: tuple[str, ...], status: int, said: str, run: Run) -> None:
    assert said in run(*words, status=status)


def test_an_entry_is_not_added_twice(run: Run) -> None:
    run("add", "x", "--every", "1m", "--task", "t")

    assert "beat set x" in run("add", "x", "--every", "1m", "--task", "t", status=exit_codes.FAILURE)


def test_a_task_that_the_app_does_not_have_is_doubted(run: Run, file: Path) -> None:
    app_entry = BeatEntryConfig(name="declared", task="shop.clean", every=60.0)
    with closing(open_store(load(str(file)), listens=False)) as store:
        store.declare(Declared({"declared": app_entry}, frozenset({"shop.clean", "shop.report"})))

    assert 'did you mean "shop.clean"?' in run("add", "x", "--every", "1m", "--task", "shop.cleam")

    assert listed(run)["declared"]["source"] == "app"
    assert listed(run)["declared"]["warning"] == ""
    assert 'no task "shop.cleam"' in str(listed(run)["x"]["warning"])


def test_an_entry_of_an_app_that_another_apps_hides_is_named(file: Path, run: Run) -> None:
    entry = BeatEntryConfig(name="sweep", task="shop.sweep", every=60.0)
    with closing(open_store(load(str(file)), listens=False)) as store:
        store.declare(Declared({"sweep": entry}, hidden={"sweep": ["bill:app"]}))

    assert "app (hides app bill:app)" in run("list")
    assert listed(run)["sweep"]["hides"] == ["app bill:app"]


def test_what_cannot_fire_stands_below_the_entries_with_the_reason(file: Path, run: Run) -> None:
    problem = 'app shop:app: row "daily" of django_celery_beat_periodictask does not fire: no schedule'
    with closing(open_store(load(str(file)), listens=False)) as store:
        store.declare(Declared(problems=[problem]))

    shown = run("list")

    assert shown.index("nightly") < shown.index(f"\n{problem}\n")
    assert json.loads(run("list", "--json"))["problems"] == [problem]


def test_a_store_that_cannot_be_read_hides_nothing_of_the_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "beat.db").write_bytes(b"no database " * 1000)

    said = run("list", status=exit_codes.UNAVAILABLE)

    assert "nightly" in said
    assert "not a sound SQLite database" in said
    run("pause", "nightly", status=exit_codes.UNAVAILABLE)


def test_a_store_beside_no_broker_lies_in_the_state_directory(file: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    file.write_text(_OF_A_SERVER)

    run("add", "hourly", "--every", "1h", "--task", "shop.tick")

    assert (tmp_path / "state" / "beat.db").exists()


def test_a_store_without_a_directory_is_an_error_and_not_an_empty_list(
    file: Path, run: Run, tmp_path: Path
) -> None:
    file.write_text(_OF_A_SERVER)

    said = run("list", status=exit_codes.UNAVAILABLE)

    assert f"the directory {tmp_path}/state does not exist; create it" in said
    assert "nothing to show" not in said


# -- with a beat that runs ---------------------------------------------------------------------------


@pytest.fixture
def beat(file: Path) -> Iterator[Program]:
    program = Program(load(str(file)))
    yield program
    program.end()


def waiting(file: Path) -> int:
    with closing(connect(f"sqlite://{file.parent}/broker.db", Stores())) as broker:
        return sum(queue.ready for queue in broker.desk().queues())


def test_a_running_beat_takes_every_change_at_once(run: Run, file: Path, beat: Program) -> None:
    wait_until(lambda: beat.has_line(Ready), timeout_s=20.0)
    run("add", "often", "--every", "50ms", "--task", "shop.tick")
    wait_until(lambda: waiting(file) >= 2, timeout_s=AT_ONCE_S)

    run("pause", "often")
    task_id = run("run-now", "nightly").strip()
    wait_until(lambda: run("history", "nightly", "--json").count(task_id) == 1, timeout_s=AT_ONCE_S)
    (decision,) = json.loads(run("history", "nightly", "--json"))["decisions"]
    assert decision["outcome"] == "sent"
    assert "on request of" in decision["reason"]

    fired = listed(run)["often"]["fired"]
    run("run-now", "nightly")
    wait_until(lambda: listed(run)["nightly"]["fired"] == 2, timeout_s=AT_ONCE_S)
    assert listed(run)["often"]["fired"] == fired

    # Until some runs have come due, so that there is something to skip.
    due_at = clock.now() + 0.2
    wait_until(lambda: clock.now() > due_at)
    run("resume", "often")
    wait_until(lambda: listed(run)["often"]["fired"] != fired, timeout_s=AT_ONCE_S)
    # What came due in between is told, not run.
    wait_until(lambda: "paused" in run("history", "often", "--limit", "1000"), timeout_s=AT_ONCE_S)


def test_what_was_asked_while_no_beat_ran_is_sent_when_one_starts(run: Run, file: Path) -> None:
    run("run-now", "nightly")

    program = Program(load(str(file)))
    try:
        wait_until(lambda: waiting(file) == 1)
    finally:
        program.end()


def test_a_list_without_its_store_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "taskd.toml"
    file.write_text(
        'app = "a:b"\nbroker = "redis://127.0.0.1:1/0"\nresults = "redis://127.0.0.1:1/0"\n'
        '[worker.m]\n[beat]\nstore = "redis://127.0.0.1:1/0"\n[beat.schedule.x]\ntask = "a.b"\nevery = "1h"\n'
    )

    for verb in ("list", "next"):
        assert main(["--config", str(file), "beat", verb]) == exit_codes.UNAVAILABLE
        out, err = capsys.readouterr()
        assert "a.b" in out
        assert "only the file's entries" in err
