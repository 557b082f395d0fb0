"""``taskctl beat explain``: what a schedule means, and a dry run over a period.  Asks nobody."""

from __future__ import annotations

from datetime import timezone, tzinfo

import click

from taskd.base import clock, exit_codes
from taskd.beat.schedules.build import moment_at
from taskd.beat.schedules.rehearsal import Rehearsal, rehearse
from taskd.beat.schedules.words import in_words
from taskd.beat.schedules.zones import zone_named
from taskd.cli.beat.when import when_options
from taskd.cli.output import echo_json, echo_table, json_option, local_time
from taskd.cli.session import duration
from taskd.config.schedule import WhenConfig
from taskd.config.when import MOMENT_FORM

_WEEK_S = 7 * 86_400.0


@click.command()
@when_options
@click.option("--name", default="", help="Name of the entry, from which its jitter follows.")
@click.option(
    "--from", "begin", metavar="MOMENT", help="Where the period begins, local to the zone (default: now)."
)
@click.option(
    "--for",
    "span_s",
    type=duration,
    metavar="DURATION",
    default=None,
    help="How long it is, such as 24h (default: 7d).",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="Show at most this many runs.",
)
@json_option
def explain(
    *,
    when: WhenConfig,
    name: str,
    begin: str | None,
    span_s: float | None,
    limit: int,
    as_json: bool,
) -> int:
    """Say in words what a schedule means and when it would run, with remarks at changes of the clock.

    EXPRESSION is five cron fields or a nickname such as @daily. --every, --at and --solar take its place.
    The keys are those of an entry in the configuration.

    Example: taskctl beat explain "30 2 * * *" --zone Europe/Berlin --from 2027-03-27 --for 3d
    """
    zone = zone_named(when.timezone)
    start_at = clock.now() if begin is None else _moment(begin, zone)
    end_at = start_at + (_WEEK_S if span_s is None else span_s)
    rehearsal = rehearse(when, name, start_at, end_at, limit)
    if as_json:
        echo_json(_facts(when, zone, rehearsal))
        return exit_codes.OK
    click.echo(f"runs {in_words(when)}")
    if rehearsal.occurrences or rehearsal.remarks:
        click.echo()
        echo_table(("LOCAL TIME", "DAY", "UTC", "REMARK"), _rows(zone, rehearsal))
    if not rehearsal.occurrences:
        click.echo(f"no run until {local_time(end_at, zone)}; --for looks further ahead")
    elif rehearsal.has_more:
        click.echo(f"and so on; --limit shows more than {limit}")
    return exit_codes.OK


def _rows(zone: tzinfo, rehearsal: Rehearsal) -> list[tuple[str, str, str, str]]:
    runs = [(at, 1, "") for at in rehearsal.occurrences]
    # The change goes before the run that it makes at the same second.
    changes = [(remark.at, 0, remark.text) for remark in rehearsal.remarks]
    return [
        (local_time(at, zone), f"{clock.utc(at).astimezone(zone):%a}", local_time(at, timezone.utc), "")
        if is_run
        else ("", "", "", text)
        for at, is_run, text in sorted([*runs, *changes])
    ]


def _facts(when: WhenConfig, zone: tzinfo, rehearsal: Rehearsal) -> dict[str, object]:
    return {
        "words": in_words(when),
        "timezone": when.timezone,
        "runs": [{"at": at, "local": local_time(at, zone)} for at in rehearsal.occurrences],
        "clock_changes": [
            {"at": remark.at, "local": local_time(remark.at, zone), "remark": remark.text}
            for remark in rehearsal.remarks
        ],
        "has_more": rehearsal.has_more,
    }


def _moment(text: str, zone: tzinfo) -> float:
    try:
        return moment_at(text, zone)
    except ValueError as error:
        raise click.BadParameter(f'"{text}" is not {MOMENT_FORM}', param_hint="--from") from error
