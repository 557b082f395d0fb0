"""The kinds of values with a form of their own: cron fields, zones, URLs, and data for a task."""

from __future__ import annotations

import math

from taskd.base.schemes import Form, file_of, scheme_of
from taskd.base.urls import wrong_in
from taskd.config.choosing import is_installed
from taskd.config.crontab import CRON_FORM, CronError, parse
from taskd.config.file_value import BAD, FileValue
from taskd.config.kinds import KindError
from taskd.config.when import MOMENT_FORM, moment_text

_ZONE_FORM = 'an IANA time zone such as "Europe/Berlin" (zones come with the system package tzdata)'


def any_list(given: FileValue) -> object:
    """Read a list of whatever JSON knows, such as the arguments of a task."""
    if not isinstance(given.raw, list):
        return given.bad("a list")
    return BAD if _refuse_unsendable(given) else tuple(given.raw)


def any_map(given: FileValue) -> object:
    """Read a table of whatever JSON knows."""
    if not isinstance(given.raw, dict):
        return given.bad("a table")
    return BAD if _refuse_unsendable(given) else given.raw


def _refuse_unsendable(given: FileValue) -> bool:
    culprit = _unsendable(given.raw)
    if culprit is None:
        return False
    given.report.error(
        given.path,
        f"{culprit} cannot be sent as JSON",
        "texts, finite numbers, booleans, lists and tables; write dates as texts",
    )
    return True


def _unsendable(value: object) -> str | None:
    """Return the first value inside that JSON does not know: dates and times, nan and inf."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return next((found for item in value if (found := _unsendable(item)) is not None), None)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    # msgspec and other JSON writers stop at 64 bits.
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return f"the number {value:.3e}"
    if value is None or isinstance(value, (str, int, float)):  # code may declare a null, a file has none
        return None
    return f"{type(value).__name__} {value}"


def cron(given: FileValue) -> object:
    """Read five cron fields."""
    if not isinstance(given.raw, str):
        return given.bad(CRON_FORM)
    if not given.raw:
        return ""  # as if it were not there
    try:
        parse(given.text)
    except CronError as error:
        # A text that came from a variable is not quoted; its columns would tell nothing.
        where = f"{given.shown}, column {error.column}" if not given.substituted else given.shown
        wrong = f": {error.wrong}" if not given.substituted else " is not a cron expression"
        return given.bad(error.expected, where + wrong)
    return given.text


def moment(given: FileValue) -> object:
    """Read a moment, as text of ISO 8601."""
    try:
        return moment_text(given.text if isinstance(given.raw, str) else given.raw)
    except ValueError:
        return given.bad(MOMENT_FORM)


def zone(given: FileValue) -> object:
    """Read an IANA time zone."""
    if not isinstance(given.raw, str) or not given.text:
        return given.bad(_ZONE_FORM)
    if given.text == "UTC":
        return "UTC"  # known even where tzdata is not installed
    from zoneinfo import ZoneInfo, available_timezones

    try:
        ZoneInfo(given.text)
    except (KeyError, ValueError, OSError):
        known = available_timezones()
        wrong = "is not a known time zone" if known else "cannot be read: this machine has no time zone data"
        expected = _ZONE_FORM if known else "UTC, or the system package tzdata installed"
        given.report.error(given.path, f"{given.shown} {wrong}", expected, word=str(given.raw), known=known)
        return BAD
    return given.text


def url(given: FileValue) -> object:
    """Read a URL with one of the schemes that the option lists."""
    schemes = [f"{scheme}://" for scheme in given.option.choices if not scheme.startswith("kombu+")]
    if len(schemes) < len(given.option.choices):
        schemes.append("kombu+NAME:// (NAME is a transport of kombu)")
    form = "a URL with one of the schemes " + ", ".join(schemes)
    if not isinstance(given.raw, str):
        return given.bad(form)
    scheme, separator, _ = given.text.partition("://")
    if not separator or "\x00" in given.text:
        # A path that came from a variable is not shown.
        is_path = given.text.startswith("/") and "\x00" not in given.text and not given.substituted
        files = [each for each in given.option.choices if scheme_of(f"{each}://").form is Form.FILE]
        if is_path and files:
            form = f"a URL, such as {files[0]}://{given.text}"
        return given.bad(form, "a path is not a URL" if is_path else "the value is not a URL")
    try:
        is_known = scheme in given.option.choices or is_installed(given.option.group, scheme)
    except KindError as error:
        return given.bad(form, str(error))
    if not is_known:
        # A scheme that did not come from a variable is not a secret, and showing it helps.
        shown = f'the scheme "{scheme}"' if not given.substituted and scheme.isalnum() else "the scheme"
        given.report.error(
            given.path, f"{shown} is not accepted", form, word=scheme, known=given.option.choices
        )
        return BAD
    if scheme_of(given.text).form is Form.FILE and not file_of(given.text):
        return given.bad(
            "sqlite:///absolute/path.db, or sqlite://path.db beside this file", "the path is missing"
        )
    found = wrong_in(given.text)
    return given.bad(found[1], found[0]) if found else given.text
