"""From the table of remote-control commands to ``taskctl inspect`` and ``taskctl control``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import click

from taskd.cli.output import json_option
from taskd.cli.remote import destination_option, timeout_option
from taskd.cli.session import Session, pass_session
from taskd.protocol.commands import Argument, ArgumentType, CommandSpec

#: The function of a command: it takes the session, the arguments of the request and the common options.
Ask = Callable[..., int]


def word_of(spec: CommandSpec) -> str:
    """Return the command's name as it is typed."""
    return spec.name.replace("_", "-")


def command_of(spec: CommandSpec, ask: Ask) -> click.Command:
    """Return a click command that takes the arguments of ``spec`` and calls
    ``ask(session, arguments, timeout_s=…, destination=…, as_json=…)``.
    """

    @timeout_option
    @destination_option
    @json_option
    @pass_session
    def callback(session: Session, /, **given: object) -> int:
        common = {name: given.pop(name) for name in ("timeout_s", "destination", "as_json")}
        arguments = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in given.items()
            if value is not None and value is not False
        }
        return ask(session, arguments, **common)

    required = [argument for argument in spec.arguments if argument.required]
    kind = spec.kind.value
    example = " ".join(["taskctl", kind, word_of(spec), *(each.name.upper() for each in required)])
    command = click.command(word_of(spec), help=f"{spec.about}\n\nExample: {example}")(callback)
    command.params[:0] = [_parameter(argument) for argument in spec.arguments]
    return command


def _parameter(argument: Argument) -> click.Parameter:
    if argument.required:
        many = argument.value is ArgumentType.TEXTS
        return click.Argument([argument.name], nargs=-1 if many else 1, required=True, type=_type(argument))
    flag = argument.value is ArgumentType.SWITCH
    return click.Option(
        [f"--{argument.name.replace('_', '-')}", argument.name],
        is_flag=flag,
        default=False if flag else None,
        help=argument.about,
        type=None if flag else _type(argument),
    )


#: The type that a text on the command line becomes; a switch takes no text.
_TYPES: Mapping[ArgumentType, type] = {
    ArgumentType.TEXT: str,
    ArgumentType.TEXTS: str,
    ArgumentType.INTEGER: int,
    ArgumentType.NUMBER: float,
}


def _type(argument: Argument) -> type | Json | None:
    return Json() if argument.value is ArgumentType.JSON else _TYPES.get(argument.value)


class Json(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.2
    """Any JSON value, such as ``'["a", 1]'``."""

    name = "json"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Return the value that the text stands for."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            self.fail(f"{value!r} is not JSON ({error})", param, ctx)


def one_cell(answer: object) -> str:
    """Return an answer without columns of its own as text: what it says, else its JSON."""
    if isinstance(answer, Mapping) and set(answer) == {"ok"}:
        answer = answer["ok"]
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, default=repr)
