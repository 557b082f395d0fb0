"""Whatever fails as nobody foresaw costs one entry, or one look of beat, and never beat."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from taskd.beat import firing
from taskd.beat.book import EntryRow
from taskd.beat.stores.base import RunOutcome
from taskd.beat.stores.factory import open_store
from taskd.brokers.factory import connect
from taskd.config.schedule import BeatConfig, BeatEntryConfig
from taskd.config.schema import Config
from tests.component.beat_bench import Away, every
from tests.component.beat_fixtures import Make, make
from tests.component.beat_process import Program, started
from tests.waiting import wait_until

__all__ = ["make", "started"]


def fails_on(entry: str, original: Callable[..., object]) -> Callable[..., object]:
    """Return the function with a defect that only one entry meets."""

    def defective(*args: object, **words: object) -> object:
        if entry in repr((args, words)):
            raise IndexError("nobody foresaw this")
        return original(*args, **words)

    return defective


@pytest.mark.parametrize("step", ["plan", "admit", "beat_message", "first_at", "publish_once"])
def test_an_entry_on_which_beat_fails_costs_no_other_its_runs(
    make: Make, step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make(every("good", 60.0), every("bad", 60.0))
    bench.start()
    match step:
        case "first_at":
            first_at = EntryRow.first_at.fget  # type: ignore[attr-defined]
            monkeypatch.setattr(EntryRow, step, property(fails_on("name='bad'", first_at)))
        case "publish_once":
            monkeypatch.setattr(Away, step, fails_on("tasks.bad", Away.publish_once))
        case "beat_message":
            monkeypatch.setattr(firing, step, fails_on("name='bad'", getattr(firing, step)))
        case _:
            original, asked = getattr(firing, step), []

            def fails_first(*args: object, **words: object) -> object:
                asked.append(args)
                if len(asked) == 1:
                    raise IndexError("nobody foresaw this")
                return original(*args, **words)

            monkeypatch.setattr(firing, step, fails_first)

    bench.advance(60.0)
    bench.advance(60.0)

    assert len(bench.broker.sent) == 2, "the other entry has fired twice"
    assert any(
        each.outcome is RunOutcome.FAILED and "nobody foresaw" in each.reason for each in bench.history()
    )
    assert "nobody foresaw this" in caplog.text


def config_over(directory: Path, *entries: BeatEntryConfig) -> Config:
    return Config(
        broker=f"sqlite://{directory}/broker.db",
        beat=BeatConfig(schedule={entry.name: entry for entry in entries}, read_app=False),
    )


@pytest.mark.parametrize("when", ["before", "after"])
def test_beat_outlives_one_failure_of_each_callback(
    tmp_path: Path, when: str, started: list[Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKD_FAULTS", when)
    first, second = every("first", 0.2), every("second", 0.2)
    config = config_over(tmp_path, first)
    started.append(program := Program(config, "tests.component.faulty_beat"))
    client = connect(config.broker, config.stores)
    desk = client.desk()

    def ready() -> int:
        return sum(queue.ready for queue in desk.queues())

    wait_until(lambda: ready() > 5)
    program.tell(config_over(tmp_path, first, second))
    wait_until(lambda: program.logged("entry=second"))
    operator = open_store(config, listens=False)
    operator.put(every("third", 0.2), "somebody")
    wait_until(lambda: program.logged("entry=third"))
    operator.close()
    before = ready()
    wait_until(lambda: ready() > before + 10)

    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(60) == 0
    assert program.process.stderr is not None
    log = (program._log + program.process.stderr.read()).decode()
    client.close()
    raised = set(re.findall("raises once: (.*)", log))
    assert raised == set(re.findall("unforeseen error in (.*), which costs", log))
    assert {"Beat.tick", "Beat._on_wakeup", "_run.<locals>.on_signal"} <= raised
