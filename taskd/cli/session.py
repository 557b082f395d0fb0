"""The session that the verbs of taskctl share: the configuration, and readers of their arguments."""

from __future__ import annotations

import json
from functools import cached_property

import click

from taskd.base.errors import ConfigError
from taskd.config.load import control_socket_in, load
from taskd.config.schema import Config
from taskd.config.units import UnitError, parse_duration
from taskd.config.where import find, found_here


class Session:
    """One call of taskctl.  The file is read when a verb first needs it."""

    def __init__(self, config_path: str | None) -> None:
        self._given = config_path
        self._is_read = False

    def name(self, config_path: str | None) -> None:
        """Take the file that the command line names; before it is read."""
        self._given = config_path

    @property
    def config_path(self) -> str:
        """The file as named on the command line, else by the rule for all programs."""
        self._is_read = True
        return find(self._given)

    @property
    def read_here(self) -> str | None:
        """The file that was read because it is in the working directory; None for another, or for none."""
        return found_here(self._given) if self._is_read else None

    @cached_property
    def config(self) -> Config:
        """The checked configuration.  Raises: ``ConfigError``."""
        return load(self.config_path)

    def daemon_socket(self, given: str | None) -> tuple[str, ConfigError | None]:
        """Return the control socket, and the error if the file is wrong, which the daemon need not know yet.

        Raises: ``ConfigError`` when the wrong file does not even name a socket.
        """
        if given is not None:
            return given, None
        try:
            return self.config.supervisor.control_socket, None
        except ConfigError as error:
            named = control_socket_in(self.config_path)
            if named is None:
                raise
            return named, error


_LIST_FORM = "a JSON list such as '[1, \"a\"]'"
_OBJECT_FORM = "a JSON object such as '{\"key\": 1}'"

pass_session = click.make_pass_decorator(Session)


def duration(text: str) -> float:
    """Read ``30s``, ``5m`` or a number of seconds, as in the configuration."""
    try:
        return parse_duration(text)
    except UnitError as error:
        raise click.BadParameter(str(error)) from error


def json_list(text: str) -> list[object]:
    """Read a JSON list."""
    decoded = _json(text, _LIST_FORM)
    if not isinstance(decoded, list):
        raise click.BadParameter(f"{text!r} is not {_LIST_FORM}")
    return decoded


def json_object(text: str) -> dict[str, object]:
    """Read a JSON object."""
    decoded = _json(text, _OBJECT_FORM)
    if not isinstance(decoded, dict):
        raise click.BadParameter(f"{text!r} is not {_OBJECT_FORM}")
    return decoded


def _json(text: str, form: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{text!r} is not JSON ({error}); expected {form}") from error
