"""The methods of the control socket that show what was recorded: output, deaths, and pool children."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import msgspec

from taskd.base.errors import ControlError
from taskd.supervisor.control.server import Method, Params
from taskd.supervisor.deaths.alike import folded
from taskd.supervisor.deaths.register import Deaths
from taskd.supervisor.output.output import Output
from taskd.supervisor.output.own import NAME
from taskd.supervisor.output.reading import LogReading
from taskd.supervisor.programs.fleet import Fleet

DEFAULT_DEATHS = 20
#: The names of the methods.
METHODS = ("logs", "deaths", "children")


class Records:
    """Answers at once; reads no disk."""

    def __init__(self, fleet: Fleet, output: Output, deaths: Deaths) -> None:
        self._fleet = fleet
        self._output = output
        self._deaths = deaths
        self._reading = LogReading(output)

    def table(self) -> Mapping[str, Method]:
        """Return the methods by their names on the wire."""
        return dict(zip(METHODS, (self._logs, self._on_deaths, self._children), strict=True))

    def _logs(self, params: Params) -> object:
        return self._reading.logs(self._with_output(params.get("name")), params)

    def _on_deaths(self, params: Params) -> object:
        name = params.get("name")
        count = params.get("count", DEFAULT_DEATHS)
        if not isinstance(count, int) or count < 0:
            raise ControlError(f"deaths: count is {count!r}; expected a number from 0")
        if not isinstance(name, str | None):
            raise ControlError(f"deaths: name is {name!r}; expected the name of a program, or none")
        if name is None or name in self._deaths.programs:
            names = None if name is None else [str(name)]
        else:
            names = [program.spec.name for program in self._fleet.named(name)]
        found = self._deaths.last(names, sys.maxsize)
        if params.get("folded") is True:
            found = folded(found)
        return {"deaths": msgspec.to_builtins(found[len(found) - min(count, len(found)) :])}

    def _children(self, _params: Params) -> object:
        rows: list[Mapping[str, object]] = []
        for program in self._fleet:
            if program.life is not None:
                rows += ({"program": program.spec.name, **row} for row in program.life.child_rows())
        return {"children": rows}

    def _with_output(self, name: object) -> Sequence[str]:
        """Return the programs that a name means: of the fleet, or formerly, or the daemon itself."""
        if name == NAME or name in self._output.names:
            return [str(name)]
        names = [program.spec.name for program in self._fleet.named(name)]
        heard = [each for each in names if each in self._output.names]
        if not heard:
            raise ControlError(f"nothing was started of {name!r} yet, so there is no output")
        return heard
