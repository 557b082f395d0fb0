"""Schedules and entries that do not stand in a file, checked by the same rules as those that do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

from taskd.base.errors import ConfigError
from taskd.config.problems import ProblemSeverity
from taskd.config.report import ProblemReport
from taskd.config.schedule import BeatEntryConfig, WhenConfig
from taskd.config.tables import NAME, NAME_FORM, read_keys
from taskd.config.when import problems_of

_LONGEST_NAME = 1000


def declared_when(keys: Mapping[str, object]) -> WhenConfig:
    """Return the schedule with these keys of an entry.

    Raises: ``ConfigError`` with every problem, one a line.
    """
    report = ProblemReport("schedule", "", {})
    when = WhenConfig(**read_keys(WhenConfig, keys, (), report))
    _judge(when, report)
    return when


def declared_entry(
    name: str, when: WhenConfig, keys: Mapping[str, object], *, any_name: bool = False
) -> BeatEntryConfig:
    """Return the entry with a schedule and the other keys; ``any_name``: it need not be a key of a file.

    Raises: ``ConfigError`` with every problem, one a line.
    """
    report = ProblemReport(f'entry "{name}"', "", {})
    if any_name:
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            report.error((), "the name is not accepted", f"1 to {_LONGEST_NAME} printable characters")
    elif not NAME.fullmatch(name):
        report.error((), f'the name "{name}" is not accepted', NAME_FORM)
    own = read_keys(BeatEntryConfig, keys, (), report)
    entry = BeatEntryConfig(
        name=name, **{**own, **{each.name: getattr(when, each.name) for each in fields(when)}}
    )
    _judge(entry, report)
    return entry


def _judge(when: WhenConfig, report: ProblemReport) -> None:
    if not report.failed:
        for problem in problems_of(when):
            report.error((problem.key,) if problem.key else (), problem.wrong, problem.expected)
    errors = [problem for problem in report.in_order() if problem.severity is ProblemSeverity.ERROR]
    if errors:
        raise ConfigError("\n".join(str(replace(problem, line=0)) for problem in errors))
