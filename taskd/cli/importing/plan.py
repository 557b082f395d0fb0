"""From the facts of a Celery app and the commands that start it to the tables of a taskd.toml.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from taskd.base.plural import counted
from taskd.base.urls import credentials_of
from taskd.cli.importing.command_line import CeleryCommand
from taskd.cli.importing.sources import CeleryStart
from taskd.cli.importing.worker_options import NOT_NEEDED, REASONS, keys_of_option
from taskd.config.built_in import POOLS
from taskd.config.choosing import result_kind
from taskd.config.kinds import PoolTrait, StoreCan
from taskd.config.secret_variables import is_secret_variable
from taskd.sending.celery_facts import CeleryFacts

#: Celery's own, whose entries are those of ``beat_schedule``.
_SCHEDULER_OF_CODE = "celery.beat:PersistentScheduler"
_LEVELS = ("debug", "info", "warning", "error")
_NODE = re.compile(r"(?:[A-Za-z0-9_.-]|%[hnd])+@(?:[A-Za-z0-9_.-]|%[hnd])+", re.ASCII)
#: Keys that mean nothing to a pool without child processes.
_OF_CHILDREN = ("max_tasks_per_child", "max_memory_per_child", "preload")


@dataclass(slots=True)
class ImportedTable:
    """The keys of one table with their values, and where each comes from."""

    keys: dict[str, object] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def put(self, key: str, value: object, origin: str = "") -> None:
        """Set a key; a later one outweighs an earlier one."""
        self.keys[key] = value
        self.origins[key] = origin


@dataclass(slots=True)
class ImportPlan:
    """All that is written, and all that a person must know or decide."""

    #: By their names in the file; "" is the top level.
    tables: dict[str, ImportedTable] = field(default_factory=dict)
    #: Variables that the file names.
    secrets: dict[str, str] = field(default_factory=dict)
    decisions: list[str] = field(default_factory=list)
    #: Parts of the commands and files that have no key here, each with the reason.
    left_out: list[str] = field(default_factory=list)

    def table(self, name: str) -> ImportedTable:
        """Return a table, made when it is first asked for."""
        return self.tables.setdefault(name, ImportedTable())

    def decide(self, line: str) -> None:
        """Put a line to those that a person must decide, once."""
        if line not in self.decisions:
            self.decisions.append(line)

    def keep_secret(self, name: str, value: str) -> str:
        """Keep a value out of the file; return its variable, which gets a number if another has the name."""
        free = name
        number = 2
        while self.secrets.setdefault(free, value) != value:
            free = f"{name}_{number}"
            number += 1
        return free

    def leave_out(self, line: str) -> None:
        """Put a line to those about parts that have no key, once."""
        if line not in self.left_out:
            self.left_out.append(line)


@dataclass(frozen=True, slots=True)
class CodePlace:
    """Where the app is imported."""

    directory: str
    interpreter: str = ""


def plan_of(facts: CeleryFacts, starts: Sequence[CeleryStart], place: CodePlace) -> ImportPlan:
    """Return the plan; without a start there is one worker for all queues."""
    plan = ImportPlan()
    _top(plan, facts)
    workers = [start for start in starts if start.command.verb == "worker"]
    for start in workers or [CeleryStart(CeleryCommand("worker"))]:
        _worker(plan, facts, start, place, is_alone=len(workers) < 2)
    _unserved(plan, facts, is_for_all=not workers)
    for start in starts:
        if start.command.verb not in ("worker", "beat"):
            _program(plan, start, place)
        else:
            _without_need(plan, start.command)
        for line in start.not_read:
            plan.decide(line)
        for line in start.left_out:
            plan.leave_out(line)
    _beat(plan, facts, starts, place)
    _to_decide(plan)
    _log(plan, starts)
    return plan


def _top(plan: ImportPlan, facts: CeleryFacts) -> None:
    top = plan.table("")
    top.put("app", facts.app)
    if facts.broker:
        top.put("broker", _hidden(plan, facts.broker, "TASKD_BROKER_PASSWORD"), "broker_url")
    origin = "result_backend" if facts.results_shown else "the app keeps no results"
    if facts.results_shown and StoreCan.KEEP not in result_kind(facts.results).can:
        origin = f"the app keeps them itself: {facts.results_shown}"
    top.put("results", _hidden(plan, facts.results, "TASKD_RESULTS_PASSWORD"), origin)
    for key, value in facts.keys.items():
        place, _, last = key.rpartition(".")
        if place not in ("worker", "beat") and key not in ("broker", "results"):
            plan.table(place).put(last, value, "the app's settings")


def _hidden(plan: ImportPlan, url: str, variable: str) -> str:
    """Return an address with variables in the place of its passwords."""
    text = url.replace("${", "$${")
    for password in dict.fromkeys(credentials_of(url)):
        known = [name for name, value in plan.secrets.items() if value == password]
        name = known[0] if known else plan.keep_secret(variable, password)
        text = text.replace(f":{password.replace('${', '$${')}@", f":${{{name}}}@")
    return text


def _worker(
    plan: ImportPlan, facts: CeleryFacts, start: CeleryStart, place: CodePlace, *, is_alone: bool
) -> None:
    command = start.command
    name = _free_name(plan, "worker", command.name or _short(command.given("hostname")) or "main")
    table = plan.table(f"worker.{name}")
    origin = "-Q" if command.given("queues") else "the app's queues"
    table.put("queues", _queues(facts, command), origin)
    for key, value in facts.keys.items():
        if key.startswith("worker.") and key != "worker.queues":
            table.put(key.partition(".")[2], value, "the app's settings")
    node = _node(command.given("hostname")) if command.given("hostname") else "celery@%h" if is_alone else ""
    if node and node not in [each.keys.get("node") for each in plan.tables.values()]:
        table.put("node", node, "the name that monitors know")
    elif command.given("hostname"):
        plan.decisions.append(f"[worker.{name}] the node name {command.given('hostname')} is not taken over")
    for option, value in command.options.items():
        _option(plan, name, table, option, value)
    pool = POOLS.get(str(table.keys.get("pool", "")))
    if pool is not None and PoolTrait.CHILDREN not in pool.traits:
        for key in _OF_CHILDREN:
            table.keys.pop(key, None)
    _surroundings(plan, table, start, place)
    _environment(plan, table, start)


def _queues(facts: CeleryFacts, command: CeleryCommand) -> list[str]:
    given = [each for each in re.split(r"[,\s]+", command.given("queues")) if each]
    left_out = set(re.split(r"[,\s]+", command.given("exclude-queues")))
    served = [queue.name for queue in facts.queues if not queue.is_broadcast]
    return [each for each in dict.fromkeys(given or served) if each not in left_out] or ["celery"]


def _unserved(plan: ImportPlan, facts: CeleryFacts, *, is_for_all: bool) -> None:
    """Tell of queues that no worker takes; the worker that no command started takes them."""
    tables = [table for name, table in plan.tables.items() if name.startswith("worker.")]
    if is_for_all:
        queues = [*_queues(facts, CeleryCommand("worker")), *facts.routed]
        tables[0].put("queues", list(dict.fromkeys(queues)), "the app's queues and routes")
    served = {queue for table in tables for queue in table.keys.get("queues", ())}  # type: ignore[attr-defined]
    declared = {queue.name: "the app" for queue in facts.queues if not queue.is_broadcast}
    for queue, by in {**facts.routed, **declared}.items():
        if queue not in served:
            plan.decide(
                f'no worker of the file takes from "{queue}", which {by} names; '
                "add it to queues of a worker, here or on another host"
            )


def _option(plan: ImportPlan, name: str, table: ImportedTable, option: str, value: str) -> None:
    """Take over one option of ``celery worker``."""
    found = keys_of_option(option, value)
    for key, each in found.items():
        table.put(key, each, f"--{option}")
    if not found and option not in NOT_NEEDED:
        spelled = f"--{option}{f' {value}' if value else ''}"
        plan.decisions.append(f"[worker.{name}] the option {spelled} is not taken over")


def _without_need(plan: ImportPlan, command: CeleryCommand) -> None:
    """Tell of options that have no key, for nothing needs one."""
    for option, reason in REASONS.items():
        if option in command.options:
            value = command.given(option)
            plan.leave_out(f"--{option}{f' {value}' if value else ''}: {reason}")


def _surroundings(plan: ImportPlan, table: ImportedTable, start: CeleryStart, place: CodePlace) -> None:
    table.put("directory", start.directory or place.directory)
    if interpreter := start.interpreter or place.interpreter:
        table.put("interpreter", interpreter)
    for key, value in (("user", start.user), ("group", start.group)):
        if value and "$" not in value:
            table.put(key, value)
    if len(start.env_files) > 1:
        plan.decisions.append(f"env_file takes one file; put these into one: {', '.join(start.env_files)}")
    elif start.env_files:
        table.put("env_file", start.env_files[0], "EnvironmentFile=")


def _environment(plan: ImportPlan, table: ImportedTable, start: CeleryStart) -> None:
    for name in start.unread:
        plan.decide(
            f"{name} is left out of environment, for its value is not in the file; write it if needed"
        )
    given = {**start.environment, **start.command.variables()}
    if not given:
        return
    shown = {}
    for name, value in given.items():
        if is_secret_variable(name, value):
            shown[name] = f"${{{plan.keep_secret(name, value)}}}"
        else:
            shown[name] = value.replace("${", "$${")
    table.put("environment", shown)


def _program(plan: ImportPlan, start: CeleryStart, place: CodePlace) -> None:
    command = start.command
    name = _free_name(plan, "program", command.name or command.verb)
    table = plan.table(f"program.{name}")
    table.put("command", list(command.words))
    _surroundings(plan, table, replace(start, interpreter=""), CodePlace(place.directory))
    _environment(plan, table, start)
    plan.decide(f"[program.{name}] runs celery {command.verb}; take it out if something else runs it")


def _beat(plan: ImportPlan, facts: CeleryFacts, starts: Sequence[CeleryStart], place: CodePlace) -> None:
    beats = [each for each in starts if each.command.verb == "beat" or "beat" in each.command.options]
    of_app = "" if facts.scheduler == _SCHEDULER_OF_CODE else facts.scheduler
    if not beats and not facts.entries and not of_app:
        return
    table = plan.table("beat")
    declared = f"the app declares {counted(len(facts.entries), 'entry', 'entries')}"
    table.put("run", "never", f"the app's beat_scheduler is {of_app}" if of_app else declared)
    chosen = dict.fromkeys(
        each.command.given("scheduler") for each in beats if each.command.given("scheduler")
    )
    for scheduler in list(chosen)[:1]:
        table.put("scheduler", scheduler, "--scheduler")
    if len(chosen) > 1:
        plan.decisions.append(f"[beat] scheduler takes one class, and the commands name {', '.join(chosen)}")
    if of_app and not chosen:
        plan.decisions.append(
            f"beat reads the entries of the app's beat_scheduler, {of_app}; [beat] scheduler names another"
        )
    files = dict.fromkeys(each.command.given("schedule") for each in beats if each.command.given("schedule"))
    for path in files:
        plan.left_out.append(f"--schedule {path}: beat has a store of its own, and does not read this file")
    if place.interpreter:
        table.put("interpreter", place.interpreter)
    plan.decisions.append(
        'stop celery beat, then write run = "always" into [beat] of one host or more; both would send twice'
    )


def _to_decide(plan: ImportPlan) -> None:
    """Tell of keys that are right for some deployments alone."""
    for name, table in plan.tables.items():
        if "node" in table.keys:
            plan.decide(
                f'[{name}] node = "{table.keys["node"]}" is the name that a Celery worker has: '
                "keep it if that one stops first, or write another while both run"
            )
    for key in ("user", "group"):
        given = [name for name, table in plan.tables.items() if key in table.keys]
        if given:
            plan.decide(
                f"{key} of [{'], ['.join(given)}] needs a daemon of root (multi-user.conf, "
                f"docs/operating.md); take it out if the {key} of the daemon may run the tasks"
            )


def _log(plan: ImportPlan, starts: Sequence[CeleryStart]) -> None:
    given = [start.command.given("loglevel").lower() for start in starts if start.command.given("loglevel")]
    known = [_LEVELS.index(each) for each in given if each in _LEVELS]
    if known and min(known) != _LEVELS.index("info"):
        plan.table("log").put("level", _LEVELS[min(known)], "--loglevel")


def _short(node: str) -> str:
    return "" if "%" in node.partition("@")[0] else node.partition("@")[0]


def _node(hostname: str) -> str:
    text = hostname.replace("%%", "%")
    node = text if "@" in text else f"{text}@%h"
    return node if _NODE.fullmatch(node) else ""


def _free_name(plan: ImportPlan, kind: str, wanted: str) -> str:
    """Return a name that no table has yet, made of what names may hold."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", wanted).strip("-")[:40] or "main"
    # NAME-1 is what the first process of NAME is called.
    name = re.sub(r"-(\d+)$", r"_\1", name)
    names = set(_names(plan))
    if name == "beat":
        name = f"{kind}-beat"
    number = 2
    free = name
    while free in names:
        free = f"{name}_{number}"
        number += 1
    return free


def _names(plan: ImportPlan) -> Iterator[str]:
    for table in plan.tables:
        kind, dot, name = table.partition(".")
        if dot and kind in ("worker", "program"):
            yield name
