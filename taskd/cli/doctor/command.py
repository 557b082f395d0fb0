"""The verb ``taskctl doctor``."""

from __future__ import annotations

from dataclasses import asdict

import click

from taskd.base import exit_codes
from taskd.base.plural import counted
from taskd.cli.doctor.checks import diagnose
from taskd.cli.doctor.exposure import expose
from taskd.cli.doctor.findings import Finding, FindingSeverity
from taskd.cli.doctor.machine import gather
from taskd.cli.doctor.security import diagnose_security
from taskd.cli.doctor.unit import unit_facts
from taskd.cli.output import echo_json, json_option, printable
from taskd.cli.session import Session, pass_session
from taskd.cli.status import socket_option


@click.command()
@click.option("--unit", "unit_name", default="taskd.service", show_default=True, help="The systemd unit.")
@click.option("--security", "of_security", is_flag=True, help="Also look for ways that need not be open.")
@socket_option
@json_option
@pass_session
def doctor(
    session: Session, *, unit_name: str, of_security: bool, socket_path: str | None, as_json: bool
) -> int:
    """Check whether this machine is fit for taskd.

    Looks at the unit, its user and permissions, at the configuration, the broker with its queues and disk,
    the clock, the kernel and the running daemon. Says for each finding why it matters and what to do.
    Changes nothing. Root sees most. The exit status is 1 when there is an error.

    With --security it also looks at the permissions of taskd's files and of the code of its programs, and at
    their users.  It looks at the content types of messages, and at the connection to the broker.

    Example: taskctl doctor
    """
    facts = gather(session.config_path, socket_path, unit_facts(unit_name))
    findings = list(diagnose(facts))
    if of_security and not facts.config.errors:
        findings += diagnose_security(expose(session.config, facts))
    failed = any(finding.severity is FindingSeverity.ERROR for finding in findings)
    if as_json:
        echo_json(
            {
                "ok": not failed,
                "findings": [{**asdict(each), "severity": each.severity.value} for each in findings],
            }
        )
    else:
        for finding in findings:
            _echo(finding)
        counts = {
            severity: sum(each.severity is severity for each in findings) for severity in FindingSeverity
        }
        click.echo(
            f"\n{counted(counts[FindingSeverity.ERROR], 'error')},"
            f" {counted(counts[FindingSeverity.WARNING], 'warning')}"
        )
    return exit_codes.FAILURE if failed else exit_codes.OK


def _echo(finding: Finding) -> None:
    click.echo(printable(f"{finding.severity.value:<8} {finding.check}: {finding.what}"))
    if finding.why:
        click.echo(printable(f"         why: {finding.why}"))
    if finding.remedy:
        click.echo(printable(f"         remedy: {finding.remedy}"))
