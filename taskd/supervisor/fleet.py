"""The programs that the supervisor has, by name: found, counted, added and removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from taskd.errors import ControlError
from taskd.supervisor.machine import ALIVE, State
from taskd.supervisor.program import Program


class Fleet:
    """All programs, in the order in which they were added.  For the loop's thread."""

    def __init__(self) -> None:
        self._programs: dict[str, Program] = {}

    def __iter__(self) -> Iterator[Program]:
        return iter(list(self._programs.values()))

    def __len__(self) -> int:
        return len(self._programs)

    def add(self, program: Program) -> None:
        """Take in a program; its name must not be taken."""
        assert program.spec.name not in self._programs, f"two programs named {program.spec.name}"
        self._programs[program.spec.name] = program

    def remove(self, program: Program) -> None:
        """Forget a program, which must not have a process any more."""
        assert program.state not in ALIVE, f"{program.spec.name} still has a process"
        del self._programs[program.spec.name]

    def named(self, name: object) -> Sequence[Program]:
        """Return what ``name`` means: a program (``mail-1``), or a group (``mail``: all of its programs).

        Raises: ``ControlError`` when it means none; the message lists what there is.
        """
        chosen = [program for program in self if name in {program.spec.name, program.spec.group}]
        if not chosen:
            raise ControlError(f"no program {name!r}; there are: {', '.join(self._programs) or 'none'}")
        return chosen

    def wanted(self) -> Sequence[Program]:
        """Return the programs that are to run."""
        return [program for program in self if program.wanted]

    def ready(self) -> Sequence[Program]:
        """Return the programs that are to run and do their work."""
        return [program for program in self.wanted() if program.state is State.READY]

    def alive(self) -> Sequence[Program]:
        """Return the programs that have a process."""
        return [program for program in self if program.state in ALIVE]

    def rows(self) -> Sequence[Mapping[str, object]]:
        """Return the rows of ``taskctl status``."""
        return [program.row() for program in self]
