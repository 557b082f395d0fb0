"""What an app's code declares reaches beat by a process of its own, whatever that code does."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskd.base.loop import Loop
from taskd.beat.app_process import AppPlace
from taskd.beat.app_source import AppSource, places_of
from taskd.beat.stores.base import Declared
from taskd.config.programs import WorkerConfig
from taskd.config.schema import Config

SHOP = """
import sys
from taskd import App, cron
print("hello from the shop")
app = App(broker="memory://")

@app.periodic(cron("0 3 * * *", zone="Europe/Berlin"), 7, queue="slow")
@app.task(name="shop.report")
def report(level): ...
"""


class Reader:
    """An ``AppSource`` over a loop, and what it told."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.learned: list[Declared] = []
        self.source: AppSource | None = None

    def start(self, *places: AppPlace, again_s: float = 60.0, longest_s: float = 60.0) -> None:
        self.source = AppSource(self.loop, places, self.learned.append, again_s=again_s, longest_s=longest_s)
        self.source.start()

    def run_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.loop.run_once()

    def close(self) -> None:
        if self.source is not None:
            self.source.kill()
        self.loop.close()


@pytest.fixture
def reader() -> Iterator[Reader]:
    found = Reader()
    yield found
    found.close()


def gate_in(directory: Path) -> str:
    """Return a pipe at which the code of one app waits for that of another."""
    os.mkfifo(directory / "gate")
    return str(directory / "gate")


def test_entries_and_tasks_are_learned_and_what_the_code_prints_does_no_harm(
    tmp_path: Path, reader: Reader
) -> None:
    (tmp_path / "shop.py").write_text(SHOP)

    reader.start(AppPlace("shop:app", str(tmp_path)))
    reader.run_until(lambda: bool(reader.learned))

    (declared,) = reader.learned
    entry = declared.entries["shop-report"]
    assert (entry.task, entry.cron, entry.timezone) == ("shop.report", "0 3 * * *", "Europe/Berlin")
    assert (entry.args, entry.queue) == ((7,), "slow")
    assert declared.tasks == {"shop.report"}


def test_the_apps_of_several_workers_are_learned_together(tmp_path: Path, reader: Reader) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        text = SHOP.replace("shop.report", f"shop.{name}")
        (tmp_path / name / "shop.py").write_text(text)

    reader.start(*(AppPlace("shop", str(tmp_path / name)) for name in ("one", "two")))
    reader.run_until(lambda: len(reader.learned) == 2)

    assert len(reader.learned[0].entries) <= 1  # none, if the second one was the faster
    assert reader.learned[0].tasks == frozenset()  # not known before all apps are
    assert set(reader.learned[1].entries) == {"shop-one", "shop-two"}
    assert reader.learned[1].tasks == {"shop.one", "shop.two"}


def test_of_two_apps_with_an_entry_of_one_name_the_first_of_the_file_counts_and_the_other_is_named(
    tmp_path: Path, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    gate = gate_in(tmp_path)
    for name, wait in (("one", f"open({gate!r}).read()\n"), ("two", f"open({gate!r}, 'w').close()\n")):
        (tmp_path / name).mkdir()
        text = SHOP.replace(
            "@app.periodic(", f'@app.periodic(cron("* * * * *"), 7, entry="own-{name}")\n@app.periodic('
        )
        (tmp_path / name / "shop.py").write_text(wait + text.replace('"slow"', f'"{name}"'))

    reader.start(*(AppPlace("shop:app", str(tmp_path / name)) for name in ("one", "two")))
    reader.run_until(lambda: len(reader.learned) == 2)

    shown = f"shop:app in {tmp_path}"
    assert all(each.entries["shop-report"].queue == "one" for each in reader.learned if each.entries)
    last = reader.learned[-1]
    assert last.entries.keys() == {"shop-report", "own-one", "own-two"}
    assert last.hidden == {"shop-report": [f"{shown}/two"]}
    (said,) = (record.message for record in caplog.records)
    assert said.startswith(f"the entry of app {shown}/two does not fire entry=shop-report: ")
    assert f"that of app {shown}/one counts" in said


def test_an_entry_counts_when_the_app_before_it_cannot_be_read(tmp_path: Path, reader: Reader) -> None:
    gate = gate_in(tmp_path)
    for name, text in (
        ("one", f"open({gate!r}).read(); 1 / 0"),
        ("two", SHOP + f"open({gate!r}, 'w').close()"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "shop.py").write_text(text)

    reader.start(*(AppPlace("shop:app", str(tmp_path / name)) for name in ("one", "two")))
    reader.run_until(lambda: bool(reader.learned and reader.learned[-1].entries))

    assert reader.learned[-1].hidden == {}


def test_one_app_of_two_workers_hides_nothing(
    tmp_path: Path, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "shop.py").write_text(SHOP)

    reader.start(*(AppPlace("shop:app", str(tmp_path), {"LEVEL": level}) for level in "12"))
    reader.run_until(lambda: len(reader.learned) == 2)

    assert reader.learned[-1].hidden == {}
    assert caplog.records == []


def test_an_app_that_cannot_be_imported_is_said_and_tried_again(
    tmp_path: Path, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "shop.py").write_text("1 / 0")

    with caplog.at_level(logging.ERROR):
        reader.start(AppPlace("shop:app", str(tmp_path)), again_s=0.01)
        reader.run_until(lambda: bool(caplog.records))
    (tmp_path / "shop.py").write_text(SHOP)
    reader.run_until(lambda: bool(reader.learned))

    assert "the entries of app shop:app are not known" in caplog.text
    assert "status 1" in caplog.text


def test_an_object_that_is_no_app_is_refused(
    tmp_path: Path, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "shop.py").write_text("app = 7")

    reader.start(AppPlace("shop:app", str(tmp_path)))
    reader.run_until(lambda: bool(caplog.records))

    assert reader.learned == []


def test_an_import_that_hangs_is_ended(
    tmp_path: Path, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "shop.py").write_text("import signal\nwhile True: signal.pause()")

    reader.start(AppPlace("shop:app", str(tmp_path)), longest_s=0.5)
    reader.run_until(lambda: bool(caplog.records))

    assert "status -9" in caplog.text


def test_stopping_ends_what_still_reads(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "shop.py").write_text("import signal\nwhile True: signal.pause()")
    reader.start(AppPlace("shop:app", str(tmp_path)))
    assert reader.source is not None

    reader.source.kill()  # waits for the process to be gone
    reader.source.kill()

    assert reader.learned == []


def test_each_app_is_read_once_where_its_workers_run() -> None:
    config = Config(
        path="t.toml",
        app="shop:app",
        workers={
            "mail": WorkerConfig(name="mail"),
            "bulk": WorkerConfig(name="bulk"),
            "bill": WorkerConfig(name="bill", app="bill:app", directory="/srv/bill"),
        },
    )

    assert places_of(config) == [AppPlace("shop:app"), AppPlace("bill:app", "/srv/bill")]
