"""A schedule on the command line: the expression, and an option for each key of an entry that says when."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import ParamSpec, TypeVar

import click

from taskd.config.declared import declared_when
from taskd.config.file_value import Option
from taskd.config.option import ValueForm
from taskd.config.schedule import WhenConfig
from taskd.config.tables import options

P = ParamSpec("P")
R = TypeVar("R")

_SHORTER = {"timezone": "zone"}


def when_options(command: Callable[P, R]) -> Callable[..., R]:
    """Add EXPRESSION and the options to a command, which gets them as the keyword ``when``.

    Raises, in the command: ``ConfigError`` with every problem of the schedule.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        given = {each.name: kwargs.pop(each.name) for each in fields(WhenConfig)}
        kwargs["when"] = declared_when({key: value for key, value in given.items() if value is not None})
        return command(*args, **kwargs)

    wrapped: Callable[..., R] = run
    for key, (option, _field) in reversed(options(WhenConfig).items()):
        if key != "cron":
            wrapped = key_option(key, option)(wrapped)
    return click.argument("cron", metavar="[EXPRESSION]", required=False)(wrapped)


def key_option(key: str, option: Option) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Return the decorator that adds the option of one key; it is None when not given."""
    kinds: Mapping[ValueForm, type] = {ValueForm.INTEGER: int, ValueForm.NUMBER: float}
    return click.option(
        f"--{_SHORTER.get(key, key).replace('_', '-')}",
        key,
        type=click.Choice(option.choices) if option.choices else kinds.get(option.kind, str),
        metavar=None if option.choices else option.kind.name,
        help=option.help,
    )
