"""With --json every verb of taskctl, also those that will come, prints one object with a version."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from taskd.base import ids
from taskd.brokers.factory import connect
from taskd.cli.taskctl import main
from taskd.config.stores import Stores
from taskd.control.node import Command
from taskd.protocol.delivery import Dead
from tests.component.answering_node import node
from tests.component.supervised import daemon
from tests.component.taskctl_verbs import LEAVES, call_of
from tests.contract.brokers import message

#: What is there in ``file``, where a verb needs more than any word.
WORDS: dict[tuple[str, ...], list[str]] = {
    **{(verb,): ["main-1"] for verb in ("start", "stop", "restart", "logs")},
    ("signal",): ["main-1", "CONT"],
    ("dlq", "show"): ["2"],
    ("autoscale", "simulate"): ["load.jsonl"],
    ("beat", "explain"): ["0 3 * * *"],
    **{("beat", verb): ["nightly"] for verb in ("resume", "run-now")},
    ("beat", "set"): ["nightly", "--every", "1m"],
}
#: The events are followed as they are.  The unit has its own tests, for it changes the machine; so has the
#: import, which needs an app of Celery.
NOT_HERE = {("events",), ("install-unit",), ("import", "celery")}
ALL = {
    words: [*words, *WORDS[words], "--timeout", "1s"] if words in WORDS else call_of(words, command)
    for words, command in LEAVES
    if words not in NOT_HERE
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file with a daemon, a worker that says ok to everything, a queue, a dead letter and an entry."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDITOR", "true")
    url = f"sqlite://{tmp_path}/broker.db"
    with closing(connect(url, Stores())) as broker:
        broker.publisher().publish([message(name, "x") for name in "abc"])
        with closing(broker.intake("test", ["x"])) as intake:
            intake.settle([Dead(each.tag, "boom", b"{}") for each in intake.claim(2)])
    commands: defaultdict[str, Command] = defaultdict(lambda: lambda **_given: {"ok": "done"})
    with daemon(tmp_path, modes={"main": "good"}) as running, node(url, ids.node_name("main-1"), commands):
        running.wait_for("main-1", "READY")
        written = tmp_path / "taskd.toml"
        written.write_text(
            f'app = "x:app"\nbroker = "{url}"\nresults = "sqlite://results.db"\n'
            f"[worker.main]\nmin_processes = 1\n"
            f'[supervisor]\ncontrol_socket = "{running.socket_path}"\nstate_directory = "."\n'
            f'[beat.schedule.nightly]\ntask = "x"\nevery = "1h"\n'
        )
        (tmp_path / "load.jsonl").write_text('{"second": 0, "group": "main", "tasks": 2, "service_s": 0.1}\n')
        yield written


def documents(call: Sequence[str], out: str) -> Sequence[object]:
    return [json.loads(line) for line in out.splitlines()] if call[0] == "top" else [json.loads(out)]


def test_every_verb_prints_one_object_with_a_version(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {}
    # The daemon is needed until the last.
    for words, call in sorted(ALL.items(), key=lambda each: each[0][0] == "shutdown"):
        main(["--config", str(file), *call, "--json"])
        out, err = capsys.readouterr()
        try:
            versions = [each["version"] for each in documents(call, out) if isinstance(each, dict)]
        except (ValueError, KeyError):
            versions = []
        if not versions or set(versions) != {1}:
            wrong[" ".join(words)] = out + err

    assert wrong == {}
