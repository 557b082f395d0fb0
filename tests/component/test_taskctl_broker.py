"""taskctl and a broker file without a daemon: send, result, queues, purge and dead letters."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from taskd.base import clock, exit_codes
from taskd.brokers.base import Broker
from taskd.brokers.factory import connect
from taskd.cli.output import Failure
from taskd.cli.pacing import hand_over
from taskd.cli.taskctl import main
from taskd.config.stores import Stores
from taskd.protocol.delivery import Dead, Delivery
from taskd.protocol.results import failure_record, success_record
from taskd.results import factory as results
from taskd.results.base import StoredResult
from tests.contract.brokers import message

Run = Callable[..., str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "taskd.toml"
    path.write_text('broker = "sqlite://broker.db"\nresults = "sqlite://results.db"\n')
    return path


@pytest.fixture
def run(file: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run taskctl, check its exit status, and return what it printed to stdout and stderr."""

    def call(*words: str, status: int = exit_codes.OK) -> str:
        found = main(["--config", str(file), *words])
        out, err = capsys.readouterr()
        assert found == status, f"{words} exited {found}: {out}{err}"
        return out + err

    return call


@pytest.fixture
def broker(file: Path) -> Iterator[Broker]:
    with closing(connect(f"sqlite://{file.parent}/broker.db", Stores())) as opened:
        yield opened


def test_a_queue_in_which_something_waits_is_named_when_no_worker_takes_from_it(
    run: Run, broker: Broker, file: Path
) -> None:
    file.write_text(file.read_text() + 'app = "a:b"\n[worker.main]\nqueues = ["mail"]\n')
    broker.publisher().publish([message("x", "mial"), message("y", "mail")])

    said = run("queues")

    assert 'no worker of this file consumes from the queue "mial"; did you mean "mail"?' in said
    assert 'queue "mail"' not in said
    assert [row["workers"] for row in json.loads(run("queues", "--json"))["queues"]] == [["main"], []]


def claim(broker: Broker, queue: str = "default") -> Delivery:
    with closing(broker.intake("test", [queue])) as intake:
        (delivery,) = intake.claim(1)
        return delivery


def bury(broker: Broker, reason: str, evidence: bytes = b"{}", queue: str = "default") -> None:
    with closing(broker.intake("test", [queue])) as intake:
        (delivery,) = intake.claim(1)
        intake.settle([Dead(delivery.tag, reason, evidence)])


def store(file: Path, task_id: str, state: str, record: bytes) -> None:
    url = f"sqlite://{file.parent}/results.db"
    with closing(results.connect(url, Stores())) as opened:
        opened.store([StoredResult(task_id, state, record, None)])


def test_a_task_is_sent_with_its_arguments_and_options(run: Run, broker: Broker) -> None:
    words = ["--kwargs", '{"b": 2}', "--queue", "mail", "--priority", "7"]

    task_id = run("send", "shop.add", "[1]", *words).strip()

    delivery = claim(broker, "mail")
    assert delivery.task_id == task_id
    assert delivery.priority == 7
    assert json.loads(delivery.headers)["task"] == "shop.add"
    assert json.loads(delivery.body)[:2] == [[1], {"b": 2}]


def test_queues_shows_how_many_messages_wait(run: Run, broker: Broker) -> None:
    run("send", "shop.add")
    run("send", "shop.add", "--countdown", "1h")
    run("send", "shop.add", "--queue", "mail")
    bury(broker, "no reason", queue="mail")

    assert [line.split() for line in run("queues").splitlines()] == [
        ["QUEUE", "READY", "DELAYED", "CLAIMED", "DEAD", "FAILED"],
        ["default", "1", "1", "0", "0", "0"],
        ["mail", "0", "0", "0", "1", "0"],
    ]
    assert json.loads(run("queues", "--json"))["queues"][1] == {
        "name": "mail",
        "ready": 0,
        "delayed": 0,
        "claimed": 0,
        "dead": 1,
        "failed": 0,
        "unacked": 0,
        "workers": None,
    }


def test_purge_asks_first(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("send", "shop.add")
    run("send", "shop.add", "--countdown", "1h")

    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert "Delete 1 ready and 1 delayed messages" in run("purge", "default", status=exit_codes.FAILURE)
    assert json.loads(run("queues", "--json"))["queues"][0]["ready"] == 1

    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert "deleted: 2" in run("purge", "default")
    assert json.loads(run("queues", "--json"))["queues"][0]["ready"] == 0


def test_purge_without_a_question_and_with_an_unknown_queue(run: Run) -> None:
    run("send", "shop.add")

    assert 'did you mean "default"?' in run("purge", "defalt", "--yes", status=exit_codes.FAILURE)
    assert json.loads(run("purge", "default", "--yes", "--json")) == {
        "version": 1,
        "queue": "default",
        "purged": 1,
    }


def test_purge_without_anybody_to_ask_deletes_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("send", "shop.add")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))

    run("purge", "default", status=exit_codes.FAILURE)

    assert json.loads(run("queues", "--json"))["queues"][0]["ready"] == 1


def test_dead_letters_are_listed_shown_requeued_and_purged(run: Run, broker: Broker) -> None:
    run("send", "shop.add", "[1]")
    bury(broker, "killed 3 children", b'{"signal": 11}')
    run("send", "shop.gone")
    bury(broker, "unknown task \x1b[31m")

    listed = json.loads(run("dlq", "list", "--json"))["letters"]
    assert [(letter["task"], letter["reason"]) for letter in listed] == [
        ("shop.gone", "unknown task \x1b[31m"),
        ("shop.add", "killed 3 children"),
    ]
    table = run("dlq", "list")
    assert "killed 3 children" in table
    assert "\x1b" not in table
    gone, add = (str(letter["id"]) for letter in listed)
    shown = json.loads(run("dlq", "show", add, "--json"))
    assert shown["evidence"] == {"signal": 11}
    assert shown["body"][0] == [1]
    assert "ended by: signal 11 (SIGSEGV)" in run("dlq", "show", add)

    assert "requeued: 1" in run("dlq", "requeue", add)
    assert claim(broker).headers is not None
    assert "1 letter is not there; taskctl dlq list --state all shows all" in run(
        "dlq", "purge", gone, "999", "--yes", status=exit_codes.FAILURE
    )
    assert json.loads(run("dlq", "list", "--json"))["letters"] == []


def test_all_dead_letters_are_chosen_only_on_request(run: Run, broker: Broker) -> None:
    run("send", "shop.add")
    bury(broker, "x")

    for words in (["dlq", "requeue"], ["dlq", "purge", "--yes"], ["dlq", "requeue", "1", "--all"]):
        run(*words, status=exit_codes.USAGE)
    assert "there is no letter 999" in run("dlq", "show", "999", status=exit_codes.FAILURE)
    for words in (["show"], ["requeue"], ["purge", "--yes"]):
        said = run("dlq", *words, "0b0e2a52-5e9b-4b2c", status=exit_codes.USAGE)
        assert 'by the number in the column ID of taskctl dlq list, not by "0b0e2a52-5e9b-4b2c"' in said
    assert json.loads(run("dlq", "requeue", "--all", "--json")) == {"version": 1, "requeued": 1}
    assert json.loads(run("dlq", "purge", "--all", "--yes", "--json")) == {"version": 1, "purged": 0}
    assert run("dlq", "purge", "--all") == "purged: 0; no letter matches\n", "nobody is asked for nothing"
    assert run("dlq", "list") == "no dead letters\n"
    assert run("dlq", "list", "--state", "failed") == "no failed letters\n"
    assert run("dlq", "list", "--state", "all") == "no letters\n"


def test_a_list_of_dead_letters_that_is_cut_says_so(run: Run, broker: Broker) -> None:
    for _ in range(3):
        run("send", "shop.add")
        bury(broker, "x")

    assert "there are more than 2; --limit shows more of them" in run("dlq", "list", "--limit", "2")
    assert json.loads(run("dlq", "list", "--limit", "2", "--json"))["more"] is True
    assert "there are more" not in run("dlq", "list", "--limit", "3")


def test_dead_letters_are_chosen_by_task_queue_and_age(run: Run, broker: Broker) -> None:
    for task, queue in (("shop.add", "default"), ("shop.gone", "default"), ("shop.add", "mail")):
        run("send", task, "--queue", queue)
        bury(broker, "x", queue=queue)

    def listed(*words: str) -> list[tuple[str, str]]:
        return [
            (row["task"], row["queue"]) for row in json.loads(run("dlq", "list", "--json", *words))["letters"]
        ]

    assert listed("--task", "shop.add") == [("shop.add", "mail"), ("shop.add", "default")]
    assert listed("--task", "shop.add", "--queue", "mail", "--since", "1h") == [("shop.add", "mail")]
    assert listed("--since", "0s") == []
    assert listed("--limit", "1") == [("shop.add", "mail")]
    run("dlq", "list", "--since", "soon", status=exit_codes.USAGE)

    assert json.loads(run("dlq", "requeue", "--task", "shop.add", "--limit", "1", "--json")) == {
        "version": 1,
        "requeued": 1,
    }
    assert claim(broker).headers is not None  # the older of the two
    assert "purged: 1" in run("dlq", "purge", "--queue", "mail", "--yes")
    assert listed() == [("shop.gone", "default")]


def test_a_dead_letter_is_shown_with_everything_that_is_known(run: Run, broker: Broker) -> None:
    run("send", "shop.add", "[1]")
    evidence = {
        "deaths": 3,
        "signal": 9,
        "exit_code": None,
        "max_rss_bytes": 50 * 1024 * 1024,
        "last_words": 'Fatal Python error\n  File "shop.py", line 3 \x1b[31m\n',
    }
    bury(broker, "its pool child died 3 times", json.dumps(evidence).encode())
    (letter,) = json.loads(run("dlq", "list", "--json"))["letters"]

    shown = run("dlq", "show", str(letter["id"])).splitlines()

    assert "reason: its pool child died 3 times" in shown
    assert "ended by: signal 9 (SIGKILL)" in shown
    assert "max rss: 50.0 MiB" in shown
    assert shown[shown.index("last words:") + 1 :][:2] == [
        "    Fatal Python error",
        '      File "shop.py", line 3 \\x1b[31m',
    ]
    assert not any(line.startswith("exit code") for line in shown)
    assert '  "task": "shop.add",' in shown


def test_requeueing_at_a_rate_takes_its_time_and_says_how_far_it_is() -> None:
    began = clock.monotonic()
    handed: list[int] = []

    def act(ids: Sequence[int]) -> int:
        handed.extend(ids)
        return len(ids)

    assert hand_over(range(21), act, "requeued", rate=100.0) == 21

    assert handed == list(range(21))
    assert clock.monotonic() - began >= 0.2  # the first goes at once


def test_an_interrupted_requeue_loses_nothing_and_says_how_far_it_came(run: Run, broker: Broker) -> None:
    for _ in range(3):
        run("send", "shop.add")
        bury(broker, "x")
    desk = broker.desk()

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Failure, match="interrupted; requeued: 1 of 3, the others are still kept"):
        hand_over(desk.dead_ids(), desk.requeue_dead, "requeued", rate=0.001, pause=interrupt)

    (queue,) = desk.queues()
    assert (queue.ready, queue.dead) == (1, 2)


def test_a_rate_is_understood_or_refused(run: Run, broker: Broker) -> None:
    run("send", "shop.add")
    bury(broker, "x")

    for wrong in ("0/s", "fast", "-1/s", "10/year"):
        run("dlq", "requeue", "--all", "--rate", wrong, status=exit_codes.USAGE)
    assert "requeued: 1" in run("dlq", "requeue", "--all", "--rate", "10/s")


def test_a_body_that_is_no_text_is_shown_as_base64(run: Run, broker: Broker) -> None:
    from taskd.protocol.delivery import Outgoing

    with closing(broker.publisher()) as publisher:
        publisher.publish([Outgoing(routing_key="default", headers=b"nonsense", body=b"\xff\x00")])
    bury(broker, "not a task")

    (letter,) = json.loads(run("dlq", "list", "--json"))["letters"]
    shown = json.loads(run("dlq", "show", str(letter["id"]), "--json"))

    assert shown["body"] == "base64:/wA="
    assert shown["headers"] == "nonsense"


def test_the_result_of_a_task_is_printed(run: Run, file: Path) -> None:
    store(file, "t1", "SUCCESS", success_record("t1", {"sum": 5}, done_at=clock.now()))
    store(file, "t2", "SUCCESS", success_record("t2", "text", done_at=clock.now()))

    assert json.loads(run("result", "t1")) == {"sum": 5}
    assert run("result", "t2") == "text\n"
    answer = json.loads(run("result", "t1", "--json", "--wait", "5s"))
    assert answer == {
        "version": 1,
        "task_id": "t1",
        "state": "SUCCESS",
        "result": {"sum": 5},
        "traceback": None,
    }


def test_the_failure_of_a_task_is_printed_with_its_remote_traceback(run: Run, file: Path) -> None:
    traceback = 'Traceback (most recent call last):\n  File "shop.py", line 3\nValueError: no such item\n'
    record = failure_record("t1", ValueError("no such item"), traceback=traceback, done_at=clock.now())
    store(file, "t1", "FAILURE", record)

    printed = run("result", "t1", status=exit_codes.FAILURE)

    assert printed.startswith("taskctl: task t1 ended as FAILURE: ValueError: no such item\nTraceback")
    assert 'File "shop.py", line 3' in printed
    assert json.loads(run("result", "t1", "--json", status=exit_codes.FAILURE))["traceback"] == traceback


def test_a_task_that_has_not_ended_is_no_failure(run: Run) -> None:
    assert "has not ended; it is PENDING: nothing has begun it, or there is no such task" in run(
        "result", "unknown", status=exit_codes.TEMPFAIL
    )
    later = run("send", "a.b", "--countdown", "1h", "--wait", "10ms", status=exit_codes.TEMPFAIL)
    assert "has not ended; it is PENDING: it is not due before" in later


def test_without_results_nothing_can_be_asked(run: Run, file: Path) -> None:
    file.write_text('broker = "sqlite://broker.db"\nresults = "null://"\n')

    assert "results are switched off" in run("result", "t1", status=exit_codes.FAILURE)
    assert len(run("send", "a.b").strip()) == 36


def test_a_file_that_is_no_database_is_named(run: Run, file: Path) -> None:
    (file.parent / "broker.db").write_bytes(b"not a database " * 1000)

    assert f"{file.parent}/broker.db" in run("queues", status=exit_codes.UNAVAILABLE)
