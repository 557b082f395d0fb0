"""The table of remote-control commands, against Celery's own."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from celery.worker.control import Panel

from taskd.consumer.commands.table import Commands
from taskd.protocol.commands import BY_NAME, COMMANDS, CommandKind, CommandSpec

#: Celery's arguments that its own command-line and API do not send.
_HANDLED = {"state", "kwargs", "_", "options"}


class Nothing:
    """A part that has nothing: none is touched."""

    def __getattr__(self, name: str) -> Nothing:
        return self


def table() -> Any:
    """Return the worker's commands without a worker: they touch their parts only when they are called."""
    nothing: Any = Nothing()
    parts = dict.fromkeys(inspect.signature(Commands).parameters, nothing)
    return Commands(**parts).table()


def test_celery_has_no_command_that_is_missing_here() -> None:
    assert set(Panel.data) - set(BY_NAME) == set()


def test_the_table_and_celery_agree_on_what_only_looks() -> None:
    kinds = {name: CommandKind(meta.type) for name, meta in Panel.meta.items()}

    assert {name: BY_NAME[name].kind for name in kinds} == kinds


def test_what_celery_does_not_have_is_called_ours() -> None:
    assert {spec.name for spec in COMMANDS if spec.ours} == {spec.name for spec in COMMANDS} - set(Panel.data)


@pytest.mark.parametrize("spec", [spec for spec in COMMANDS if not spec.ours], ids=lambda spec: spec.name)
def test_a_command_takes_celerys_arguments(spec: CommandSpec) -> None:
    theirs = set(inspect.signature(Panel.data[spec.name]).parameters) - _HANDLED
    ours = inspect.signature(table()[spec.name]).parameters

    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in ours.values())
    assert takes_any or theirs <= set(ours)


@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: spec.name)
def test_the_arguments_in_the_table_are_those_of_the_command(spec: CommandSpec) -> None:
    ours = inspect.signature(table()[spec.name]).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in ours.values())

    told = {argument.name for argument in spec.arguments}
    assert takes_any or told == set(ours)
    required = {argument.name for argument in spec.arguments if argument.required}
    assert required >= {
        name
        for name, each in ours.items()
        if each.default is each.empty and each.kind is not each.VAR_KEYWORD
    }
