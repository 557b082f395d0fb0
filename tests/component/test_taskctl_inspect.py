"""taskctl inspect and revoke: kombu's client asks, our node answers, over a real broker file."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from taskd.base import exit_codes, ids
from taskd.cli.output import local_time
from taskd.cli.taskctl import main
from taskd.config.stores import Stores
from taskd.control.client import RemoteControl
from taskd.control.node import Command
from taskd.protocol.results import revoked_record
from taskd.results import factory as results
from taskd.results import in_advance
from taskd.results.base import StoredResult
from tests.component.answering_node import node
from tests.waiting import wait_until

Run = Callable[..., tuple[str, str]]

TASK = {
    "id": "id-1",
    "name": "shop.add",
    "args": [1, "x"],
    "kwargs": {"k": 2},
    "time_start": 1.0,
    "worker_pid": 42,
}
COMMANDS: dict[str, Command] = {
    "ping": lambda: {"ok": "pong"},
    "active": lambda: [TASK],
    "reserved": lambda: [{**TASK, "time_start": None, "worker_pid": None}],
    "scheduled": lambda: [{"eta": "2030-01-01T00:00:00+00:00", "priority": 6, "request": TASK}],
    "registered": lambda: ["shop.add", "shop.sub"],
    "revoked": lambda: ["id-9"],
    "stats": lambda: {
        "pid": 42,
        "uptime": 61,
        "total": {"shop.add": 3, "shop.sub": 4},
        "prefetch_count": 8,
        "pool": {"implementation": "taskd.pools.prefork:PreforkPool", "max-concurrency": 4},
        "rusage": {"maxrss": 2048},
    },
    "revoked_names": lambda: ["shop.mul", "tenant=acme"],
    "report": lambda: {"ok": "taskd 1.2.3\npool solo"},
    "rate_limit": lambda task_name, rate_limit: {"ok": f"{task_name} {rate_limit}"},
    "revoke_by_name": lambda task_name, terminate, signal: {"ok": f"{task_name} {terminate} {signal}"},
    "unrevoke": lambda **given: {"ok": f"{sorted(given.items())}"},
    "revoke": lambda task_id, terminate, signal: {"ok": f"{task_id} {terminate} {signal}"},
}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/broker.db"


@pytest.fixture
def nodes(url: str) -> Iterator[None]:
    with node(url, "mail-1@a", COMMANDS), node(url, ids.node_name("io-1"), COMMANDS):
        yield


@pytest.fixture
def run(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    path = tmp_path / "taskd.toml"
    path.write_text(f'broker = "{url}"\n[supervisor]\ncontrol_socket = "none.sock"\n')

    def call(*words: str, status: int = exit_codes.OK) -> tuple[str, str]:
        found = main(["--config", str(path), *words])
        captured = capsys.readouterr()
        assert found == status, f"{words} exited {found}: {captured.out}{captured.err}"
        return captured.out, captured.err

    return call


@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("ping", ["mail-1@a", "pong"]),
        ("active", ["mail-1@a", "shop.add", "id-1", "42", "(1, 'x', k=2)"]),
        ("reserved", ["mail-1@a", "shop.add", "id-1"]),
        ("scheduled", ["mail-1@a", "shop.add", "id-1", local_time(1_893_456_000)]),
        ("registered", ["mail-1@a", "shop.add", "shop.sub"]),
        ("revoked", ["mail-1@a", "id-9"]),
        ("report", ["mail-1@a", "taskd 1.2.3", "pool solo"]),
        ("stats", ["mail-1@a", "42", "1m01s", "prefork:PreforkPool", "4", "8", "7", "2.0 MiB"]),
    ],
)
def test_every_question_is_answered_by_every_node(run: Run, method: str, words: list[str]) -> None:
    # The answer of the second is the end.
    both = ["-d", "mail-1@a", "-d", "io-1", "--timeout", "10m"]

    table, _ = run("inspect", method, *both)

    assert all(word in table for word in [*words, ids.node_name("io-1")]), table
    answers = json.loads(run("inspect", method, "--json", *both)[0])["nodes"]
    assert set(answers) == {"mail-1@a", ids.node_name("io-1")}
    assert answers["mail-1@a"] == COMMANDS[method]()


@pytest.mark.usefixtures("nodes")
def test_a_question_without_a_destination_goes_to_every_node(run: Run) -> None:
    def answers() -> set[str]:
        return set(json.loads(run("inspect", "ping", "--json", "--timeout", "300ms")[0])["nodes"])

    # A node of a busy machine may be late for one of the questions.
    wait_until(lambda: answers() == {"mail-1@a", ids.node_name("io-1")})


def test_a_task_that_has_run_and_whose_end_is_open_says_why(run: Run, url: str) -> None:
    end = {"state": "FAILURE", "since": 1.0, "attempts": 3, "reason": "ConnectionError: refused"}
    open_ended = {**TASK, "time_start": None, "worker_pid": None, "end": end}
    with node(url, "mail-1@a", {"active": lambda: [open_ended]}):
        table, _ = run("inspect", "active", "-d", "mail-1@a")

    said = table.splitlines()[-1]
    assert said.startswith("mail-1@a: id-1 has run; the app has not stored its end FAILURE for ")
    assert said.endswith(": ConnectionError: refused")


@pytest.mark.usefixtures("nodes")
def test_only_the_named_node_is_asked_and_nobody_is_waited_for(run: Run) -> None:
    for name in ("mail-1@a", "io-1"):
        # A whole minute of waiting would fail the test: with a destination the answer is the end.
        answers = json.loads(run("inspect", "ping", "-d", name, "--timeout", "10m", "--json")[0])["nodes"]

        assert list(answers) == [name if "@" in name else ids.node_name(name)]


def test_without_an_answer_it_says_so(run: Run) -> None:
    for words in (["inspect", "ping"], ["revoke", "id-1", "-d", "mail-1"]):
        _, error = run(*words, "--timeout", "50ms", status=exit_codes.UNAVAILABLE)

        assert "no worker answered within 0.05 s" in error
    said, _ = run("revoke", "id-1", "--timeout", "50ms")
    assert "no worker is up: every worker that starts within three hours" in said


def test_the_error_of_a_node_is_reported_beside_the_answers_of_others(run: Run, url: str) -> None:
    with node(url, "good@a", COMMANDS), node(url, "bad@a", {}):
        both = ["-d", "good@a", "-d", "bad@a"]
        table, error = run("inspect", "ping", *both, "--timeout", "10m", status=exit_codes.FAILURE)

    assert "good@a" in table
    assert "bad@a refused: KeyError('ping')" in error


@pytest.mark.usefixtures("nodes")
def test_revoke_passes_on_what_was_asked(run: Run) -> None:
    words = ["revoke", "id-1", "id-2", "--terminate", "--signal", "KILL", "-d", "mail-1@a"]

    assert run(*words)[0] == "mail-1@a: ['id-1', 'id-2'] True KILL\n"
    run("revoke", "id-1", "--signal", "KILL", status=exit_codes.USAGE)


@pytest.mark.usefixtures("nodes")
def test_names_are_revoked_and_lifted_and_shown(run: Run) -> None:
    there = ("-d", "mail-1@a")

    assert run("revoke", "--name", "shop.add", *there)[0] == "mail-1@a: ['shop.add'] False None\n"
    undone = run("revoke", "id-1", "--header", "k=v", "--undo", *there)[0]
    assert undone == "mail-1@a: [('headers', ['k=v']), ('task_id', ['id-1'])]\n"
    shown = run("inspect", "revoked-names", *there)[0]
    assert "shop.mul" in shown
    assert "tenant=acme" in shown


@pytest.mark.parametrize(
    ("words", "method", "answer", "said"),
    [
        (["id-1"], "revoke", "tasks {'id-1'} flagged as revoked", "revoked id-1"),
        (
            ["a", "b", "c", "d", "e"],
            "revoke",
            "tasks {'b', 'a'} flagged as revoked",
            "revoked a, b, c, 2 more",
        ),
        (
            ["id-1", "--terminate"],
            "revoke",
            "terminate: tasks unknown",
            "revoked id-1; none of them runs here",
        ),
        (["a", "b", "--terminate"], "revoke", "terminate: a, b", "revoked a, b; ends a, b"),
        (
            ["--name", "shop.add"],
            "revoke_by_name",
            "names ['shop.add'] flagged as revoked, but not terminated",
            "revoked every task named shop.add",
        ),
        (
            ["--header", "k=v", "--terminate"],
            "revoke_by_stamped_headers",
            "headers {'k': 'v'} revoked, terminated: id-7",
            "revoked every task with k=v; ends id-7",
        ),
        (["id-1", "--undo"], "unrevoke", "no longer revoked", "no longer revoked"),
    ],
)
def test_an_answer_in_the_words_of_celery_is_told_in_those_of_people(
    run: Run, url: str, *, words: list[str], method: str, answer: str, said: str
) -> None:
    with node(url, "mail-1@a", {method: lambda **_: {"ok": answer}}):
        assert run("revoke", *words, "-d", "mail-1@a")[0] == f"mail-1@a: {said}\n"


def test_undoing_takes_the_answer_back_though_no_worker_is_up(run: Run, url: str, tmp_path: Path) -> None:
    file = tmp_path / "taskd.toml"
    file.write_text(f'results = "sqlite://{tmp_path}/results.db"\n' + file.read_text())
    with closing(results.connect(f"sqlite://{tmp_path}/results.db", Stores())) as store:
        in_advance.tell(store, ["waits"], now=0.0, keep_s=0.0)
        record = revoked_record("dropped", "revoked", done_at=0.0)
        store.store([StoredResult("dropped", "REVOKED", record, None)])

        run("revoke", "waits", "dropped", "--undo", "--timeout", "50ms")

        assert set(store.get(["waits", "dropped"])) == {"dropped"}


@pytest.mark.usefixtures("nodes")
def test_a_rate_limit_is_passed_on(run: Run) -> None:
    assert run("rate-limit", "shop.add", "10/m", "-d", "mail-1@a")[0] == "mail-1@a: shop.add 10/m\n"


@pytest.mark.usefixtures("nodes")
def test_a_limit_ends_the_wait(url: str) -> None:
    with RemoteControl(url, Stores()) as remote:
        assert len(remote.inspect("ping", timeout_s=60, limit=2)) == 2


def test_what_is_cast_arrives_without_an_answer(url: str) -> None:
    arrived = threading.Event()

    def note(text: str) -> None:
        assert text == "hello"
        arrived.set()

    with node(url, "mail-1@a", {"note": note}), RemoteControl(url, Stores()) as remote:
        remote.cast("note", {"text": "hello"}, destination=["mail-1@a"])

        assert arrived.wait(60)


def test_a_broker_that_nobody_else_can_reach_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "taskd.toml"
    path.write_text('broker = "memory://"\n')

    assert main(["--config", str(path), "inspect", "ping"]) == exit_codes.UNAVAILABLE
    assert "memory://" in capsys.readouterr().err
