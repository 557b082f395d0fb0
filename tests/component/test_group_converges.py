"""Whatever happens on the way (crashes, reloads, stops, rolling restarts), a group gets where it is to be.

The group and its revisions are the real ones; its programs live in a world of dice instead of processes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from taskd.config.daemon import SupervisorConfig
from taskd.config.programs import WorkerConfig
from taskd.config.schema import Config
from taskd.supervisor.model.machine import ALIVE, State
from taskd.supervisor.model.roster import groups, program_name
from taskd.supervisor.model.waiting import Standing
from taskd.supervisor.programs.group import Group
from taskd.supervisor.programs.program import Program
from taskd.supervisor.programs.revision import Revision
from taskd.supervisor.programs.settings import Settings


@dataclass
class _Spec:
    name: str
    group: str = "w"


@dataclass
class _Process:
    pid: int


@dataclass
class _Life:
    process: _Process
    ready_since: float | None = None
    held: int = 0


class DiceProgram:
    """What a group sees of a program; the test says when it becomes ready, crashes, and is gone."""

    pids = 0

    def __init__(self, name: str) -> None:
        self.spec = _Spec(name)
        self.state = State.DOWN
        self.wanted = False
        self.failures = 0
        self.reason = self.detail = ""
        self.life: _Life | None = None

    def want(self, *, wanted: bool, reason: str) -> None:
        self.wanted, self.reason = wanted, reason

    def want_as_configured(self, reason: str) -> None:
        self.want(wanted=True, reason=reason)

    def standing(self) -> Standing:
        return Standing(self.spec.name, self.state, self.wanted, 0.0, is_done=False, is_over=False)

    def reconcile(self) -> None:
        if self.wanted and self.state not in ALIVE:
            DiceProgram.pids += 1
            self.state, self.life = State.STARTING, _Life(_Process(DiceProgram.pids))
        elif not self.wanted and self.state in {State.STARTING, State.READY}:
            self.state = State.DRAINING
        elif not self.wanted and self.state not in ALIVE:
            self.state = State.DOWN

    def obey(self, settings: Settings) -> None:
        self.spec = _Spec(settings.spec.name)

    def poke(self, _signum: object) -> bool:
        assert self.state is State.READY, "a program that does not listen yet would die of the signal"
        return True

    def close(self) -> None:
        assert self.state not in ALIVE, "its process may leave something to a successor yet"

    def become_ready(self) -> None:
        if self.state is State.STARTING and self.life is not None:
            self.state, self.life.ready_since = State.READY, 0.0

    def exit(self) -> None:
        if self.state in ALIVE:
            if self.state is not State.DRAINING:
                self.failures += 1
            self.state, self.life = State.DOWN if self.state is State.DRAINING else State.BACKOFF, None


def _config(concurrency: int, processes: int, surge: int, stop_timeout: float) -> Config:
    worker = WorkerConfig(
        name="w",
        pool="threads",
        concurrency=concurrency,
        processes=processes,
        max_surge=surge,
        max_unavailable=0 if surge else 1,
    )
    supervisor = SupervisorConfig(canary_time=0.0, stop_timeout=stop_timeout, roll_attempts=3)
    return Config(app="a:b", workers={"w": worker}, supervisor=supervisor)


_CONFIGS = st.builds(
    _config, st.integers(1, 3), st.integers(1, 4), st.integers(0, 2), st.sampled_from([1.0, 2.0])
)


class World:
    """One group, its revisions, and everything that may happen to them."""

    def __init__(self, config: Config) -> None:
        self.revisions: list[Revision] = []
        self.group = Group("w", self.make, lambda _: None, lambda _: False)
        self.reload(config)

    def make(self, revision: Revision, group: str, slot: int) -> Program:
        return cast("Program", DiceProgram(program_name(group, slot)))

    def reload(self, config: Config) -> None:
        revision = Revision(len(self.revisions) + 1, config, lambda *_: ("true",))
        self.revisions.append(revision)
        self.group.aim(revision, groups(config)["w"], reason="test")

    @property
    def programs(self) -> list[DiceProgram]:
        return [cast("DiceProgram", member.program) for member in self.group.members]

    def turn(self) -> None:
        for program in self.programs:
            program.reconcile()
        self.group.converge()
        names = [program.spec.name for program in self.programs]
        assert len(set(names)) == len(names), "two programs of one name would take each other's claims"

    def close(self) -> None:
        for revision in self.revisions:
            revision.close()


@given(first=_CONFIGS, data=st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
def test_a_group_gets_where_it_is_to_be_whatever_happened_before(first: Config, data: st.DataObject) -> None:
    world = World(first)
    world.turn()
    for _ in range(data.draw(st.integers(0, 40))):
        target = data.draw(st.sampled_from(world.programs)) if world.programs else None
        match data.draw(st.sampled_from(["ready", "exit", "reload", "renew", "resize", "stop", "start"])):
            case "ready" if target is not None:
                target.become_ready()
            case "exit" if target is not None:
                target.exit()
            case "reload":
                world.reload(data.draw(_CONFIGS))
            case "renew" if target is not None:
                world.group.roll([cast("Program", target)], reason="test")
            case "resize":
                world.group.resize(data.draw(st.integers(1, 4)), reason="test")
            case "stop" | "start" as verb if target is not None:
                member = next(each for each in world.group.members if each.program is cast("Program", target))
                if not member.is_retired:
                    target.want(wanted=verb == "start", reason="an operator")
        world.turn()

    # From here on the world is kind.
    for _ in range(60):
        for program in world.programs:
            program.become_ready()
            if program.state is State.DRAINING:
                program.exit()
        world.turn()

    assert world.group.settled, [(each.program.spec.name, each.presence) for each in world.group.members]
    assert len(world.group.members) == world.group.size.count
    assert all(each.fits(world.group.target) for each in world.group.members)
    world.close()


@given(first=_CONFIGS)
@settings(max_examples=40, deadline=None)
def test_a_configuration_whose_programs_always_die_never_stops_one_that_works(first: Config) -> None:
    surging = replace(first, workers={"w": replace(first.workers["w"], max_surge=1, max_unavailable=0)})
    world = World(surging)
    for _ in range(3):
        world.turn()
        for program in world.programs:
            program.become_ready()
    world.turn()
    at_work = {id(program) for program in world.programs}

    broken = replace(surging, workers={"w": replace(surging.workers["w"], concurrency=9)})
    world.reload(broken)
    for _ in range(20):
        world.turn()
        for program in world.programs:
            if id(program) not in at_work:
                program.exit()

    assert "died 3 times" in world.group.trouble
    assert {id(program) for program in world.programs if program.state is State.READY} == at_work
    assert len(world.programs) == len(at_work)
    world.close()
