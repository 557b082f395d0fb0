"""The blueprint engine: order, what is handed on, roll-back."""

from __future__ import annotations

from typing import Any

import pytest

from taskd.base.blueprint import Blueprint, Given, Phase, Step
from taskd.base.errors import ConfigError, StartError
from taskd.base.lifecycle import Deadline

NOW = Deadline(0.0)


class Recording(Step[str]):
    """A step that writes down what happens to it."""

    def __init__(self, log: list[str], *, fails: Exception | None = None, joins: bool = True) -> None:
        self.log = log
        self.fails = fails
        self.joins = joins

    def included(self) -> bool:
        return self.joins

    def start(self, given: Given) -> str:
        if self.fails is not None:
            raise self.fails
        self.log.append(f"start {self.name}")
        return f"made by {self.name}"

    def quiet(self) -> None:
        self.log.append(f"quiet {self.name}")

    def stop(self, deadline: Deadline) -> None:
        self.log.append(f"stop {self.name}")


class Ground(Recording):
    name = "Ground"


class Wall(Recording):
    name = "Wall"
    requires = (Ground,)


class Roof(Recording):
    name = "Roof"
    requires = (Wall,)
    last = True


class Garden(Recording):
    name = "Garden"
    requires = (Ground,)


def test_steps_start_after_what_they_require_and_stop_in_reverse() -> None:
    log: list[str] = []
    blueprint = Blueprint("House", [Roof(log), Garden(log), Wall(log), Ground(log)])

    blueprint.start()
    blueprint.stop(NOW)

    assert log == [
        "start Ground", "start Garden", "start Wall", "start Roof",
        "stop Roof", "stop Wall", "stop Garden", "stop Ground",
    ]  # fmt: skip
    assert blueprint.phase is Phase.DOWN


def test_a_step_receives_what_the_earlier_ones_provided() -> None:
    received: list[str] = []

    class Tenant(Step[None]):
        name = "Tenant"
        requires = (Ground,)

        def start(self, given: Given) -> None:
            received.append(given[Ground])

    Blueprint("House", [Tenant(), Ground([])]).start()

    assert received == ["made by Ground"]


def test_a_failed_start_leaves_no_step_running() -> None:
    log: list[str] = []
    blueprint = Blueprint("House", [Ground(log), Wall(log), Roof(log, fails=ValueError("no tiles"))])

    with pytest.raises(StartError, match="step Roof of House did not start: no tiles"):
        blueprint.start()

    assert log == ["start Ground", "start Wall", "stop Wall", "stop Ground"]
    assert blueprint.phase is Phase.DOWN


def test_our_own_errors_leave_a_failed_start_as_they_are() -> None:
    blueprint = Blueprint("House", [Ground([], fails=ConfigError("wrong key"))])

    with pytest.raises(ConfigError, match="wrong key"):
        blueprint.start()


def test_an_excluded_step_is_neither_started_nor_waited_for() -> None:
    log: list[str] = []
    blueprint = Blueprint("House", [Ground(log, joins=False), Wall(log)])

    given = blueprint.start()

    assert log == ["start Wall"]
    with pytest.raises(KeyError):
        given[Ground]


def test_a_step_that_fails_to_stop_keeps_none_from_stopping(caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []

    class Stubborn(Wall):
        name = "Stubborn"

        def stop(self, deadline: Deadline) -> None:
            raise RuntimeError("stuck")

    blueprint = Blueprint("House", [Ground(log), Stubborn(log)])
    blueprint.start()

    blueprint.stop(NOW)

    assert log[-1] == "stop Ground"
    assert "Stubborn did not stop cleanly" in caplog.text


def test_a_stopped_blueprint_can_start_again_and_a_running_one_cannot() -> None:
    blueprint = Blueprint("House", [Ground([])])
    blueprint.start()

    with pytest.raises(StartError, match="House is running"):
        blueprint.start()
    blueprint.stop(NOW)
    blueprint.start()

    assert blueprint.phase is Phase.RUNNING


def test_steps_that_require_one_another_are_refused_by_name() -> None:
    class Hen(Step[None]):
        name = "Hen"

    class Egg(Step[None]):
        name = "Egg"
        requires = (Hen,)

    Hen.requires = (Egg,)
    steps: list[Step[Any]] = [Hen(), Egg()]

    with pytest.raises(StartError, match="Hen -> Egg -> Hen"):
        Blueprint("Riddle", steps)


def test_quiet_reaches_every_started_step() -> None:
    log: list[str] = []
    blueprint = Blueprint("House", [Ground(log), Wall(log)])
    blueprint.start()

    blueprint.quiet()

    assert log[-2:] == ["quiet Ground", "quiet Wall"]
