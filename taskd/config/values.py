"""Turn one TOML value into the value of an option, by its kind, or note what is wrong with it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from taskd.config import forms, process_forms, rate_forms
from taskd.config.choosing import is_installed
from taskd.config.file_value import BAD, FileValue, Option, show, substitute
from taskd.config.kinds import KindError
from taskd.config.option import ValueForm
from taskd.config.problems import unforeseen
from taskd.config.provenance import KeyPath
from taskd.config.report import ProblemReport
from taskd.config.units import DURATION_FORM, SIZE_FORM, UnitError, parse_duration, parse_size

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,9})?", re.ASCII)


def convert(option: Option, value: object, path: KeyPath, report: ProblemReport) -> Any:
    """Return the option's value, or ``BAD`` after noting the problem."""
    if isinstance(value, str):
        substituted = substitute(value, path, report)
        if substituted is None:
            return BAD
    else:
        substituted = ""
    given = FileValue(option, value, substituted, path, report)
    try:
        converted = _CONVERTERS[option.kind](given)
    except Exception as error:  # noqa: BLE001 - a barrier, here because here the key is known
        # The error quotes a text that may come from a variable, or be a secret.
        hidden = given.substituted or option.secret
        return given.bad(
            "another value", f"taskd failed to read {given.shown}" if hidden else unforeseen(error)
        )
    if isinstance(converted, (int, float)) and not isinstance(converted, bool):
        return _bounded(option, converted, value, path, report)
    return converted


def _text(given: FileValue) -> object:
    if not isinstance(given.raw, str):
        return given.bad("a text in quotes")
    if "\x00" in given.text:
        return given.bad("a text without NUL characters", "a NUL character is in the text")
    return given.text


def _integer(given: FileValue) -> object:
    value = _plain(given)
    if isinstance(value, bool) or not isinstance(value, int):
        return given.bad("a whole number" + _bounds(given.option))
    return value


def _number(given: FileValue) -> object:
    value = _plain(given)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return given.bad("a number" + _bounds(given.option))
    return float(value)


def _boolean(given: FileValue) -> object:
    value = _plain(given)
    return value if isinstance(value, bool) else given.bad("true or false")


def _plain(given: FileValue) -> object:
    """Return the value; of a text with variables what TOML would read without its quotes."""
    if not given.substituted:
        return given.raw
    text = given.text.strip()
    if text in {"true", "false"}:
        return text == "true"
    for kind in (int, float):
        # As TOML: ASCII, no inf and nan; and no more digits than 64 bits have.
        if _NUMBER.fullmatch(text):
            try:
                return kind(text)
            except ValueError:
                pass
    return given.raw


def _quantity(parse: Callable[[str | float], float], form: str) -> Callable[[FileValue], object]:
    def read(given: FileValue) -> object:
        if not isinstance(given.raw, (str, int, float)):
            return given.bad(form)
        try:
            return parse(given.text if isinstance(given.raw, str) else given.raw)
        except UnitError as error:
            # The error quotes the text it was given, which may have come from a variable.
            return given.bad(form, "" if given.substituted else error.wrong)

    return read


_read_duration = _quantity(parse_duration, DURATION_FORM)
#: A bare number of seconds above this is meant to be milliseconds, more often than not.
_LONG_LIMIT_S = 86_400


def _duration(given: FileValue) -> object:
    seconds = _read_duration(given)
    bare = isinstance(given.raw, (int, float))
    if bare and given.path[-1] in {"time_limit", "soft_time_limit"} and seconds is not BAD:
        long_s = cast("float", seconds)
        if long_s > _LONG_LIMIT_S:
            given.report.warning(
                given.path,
                f"{given.shown} seconds are {long_s / 86_400:.1f} days",
                f'a unit, to say what is meant: "{given.raw}ms", or "{given.raw}s"',
            )
    return seconds


def _choice(given: FileValue) -> object:
    if isinstance(given.raw, str) and given.text in given.option.choices:
        return given.text
    if isinstance(given.raw, bool) and (word := str(given.raw).lower()) in given.option.choices:
        return word
    try:
        if isinstance(given.raw, str) and is_installed(given.option.group, given.text):
            return given.text
    except KindError as error:
        return given.bad("one of " + ", ".join(given.option.choices), str(error))
    given.report.error(
        given.path,
        f"{given.shown} is not accepted",
        "one of " + ", ".join(given.option.choices),
        word=given.raw if isinstance(given.raw, str) else "",
        known=given.option.choices,
    )
    return BAD


def _text_list(given: FileValue) -> object:
    if not isinstance(given.raw, list) or not all(isinstance(item, str) for item in given.raw):
        return given.bad('a list of texts such as ["a", "b"]')
    choices = given.option.choices
    strange = [item for item in given.raw if choices and item not in choices]
    if strange:
        wrong = f"{show(strange[0])} is not accepted"
        given.report.error(given.path, wrong, "one of " + ", ".join(choices), word=strange[0], known=choices)
        return BAD
    items = [substitute(item, given.path, given.report) for item in given.raw]
    return BAD if None in items else tuple(items)


def _text_map(given: FileValue) -> object:
    if not isinstance(given.raw, dict):
        return given.bad('a table of texts such as { NAME = "value" }')
    result: dict[str, str] = {}
    for key, item in given.raw.items():
        path = (*given.path, key)
        if not isinstance(item, str):
            given.report.error(path, f"{show(item)} is not accepted", "a text in quotes")
        elif (text := substitute(item, path, given.report)) is not None:
            result[key] = text
    return result if len(result) == len(given.raw) else BAD


def _prefetch(given: FileValue) -> object:
    if given.raw == "auto":
        return "auto"
    if isinstance(given.raw, bool) or not isinstance(given.raw, int) or given.raw < 0:
        return given.bad('"auto" or a whole number from 0')
    return given.raw


def _bounded(option: Option, converted: float, value: object, path: KeyPath, report: ProblemReport) -> object:
    low = option.minimum
    high = option.maximum
    if (low is None or converted >= low) and (high is None or converted <= high):
        return converted
    unit = {ValueForm.DURATION: " second", ValueForm.SIZE: " byte"}.get(option.kind, "")
    # The last number of the range is the one beside its unit.
    unit += "s" if unit and (low if high is None else high) != 1 else ""
    side = "too small" if low is not None and converted < low else "too large"
    report.error(path, f"{show(value)} is {side}", _range(option) + unit)
    return BAD


def _range(option: Option) -> str:
    low = option.minimum
    high = option.maximum
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"at least {low:g}" if low is not None else f"at most {high:g}"


def _bounds(option: Option) -> str:
    return "" if option.minimum is None and option.maximum is None else ", " + _range(option)


_CONVERTERS: Mapping[ValueForm, Callable[[FileValue], object]] = {
    ValueForm.TEXT: _text,
    ValueForm.INTEGER: _integer,
    ValueForm.NUMBER: _number,
    ValueForm.BOOLEAN: _boolean,
    ValueForm.DURATION: _duration,
    ValueForm.SIZE: _quantity(parse_size, SIZE_FORM),
    ValueForm.CHOICE: _choice,
    ValueForm.TEXT_LIST: _text_list,
    ValueForm.TEXT_MAP: _text_map,
    ValueForm.ANY_LIST: forms.any_list,
    ValueForm.ANY_MAP: forms.any_map,
    ValueForm.PREFETCH: _prefetch,
    ValueForm.CRON: forms.cron,
    ValueForm.MOMENT: forms.moment,
    ValueForm.ZONE: forms.zone,
    ValueForm.URL: forms.url,
    ValueForm.RATES: rate_forms.rates,
    ValueForm.OCTAL: process_forms.octal,
    ValueForm.LIMITS: process_forms.limits,
    ValueForm.CPUS: process_forms.cpus,
}
