"""The kinds of values that belong to processes: file modes, resource limits, lists of processors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from taskd.config.file_value import BAD, FileValue, show
from taskd.config.units import DURATION_FORM, SIZE_FORM, UnitError, parse_duration, parse_size

#: No limit, as ``resource.RLIM_INFINITY``.
UNLIMITED = -1

_MODE = re.compile(r"[0-7]{3,4}", re.ASCII)
_CPU_RANGE = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?", re.ASCII)
_MAX_CPUS = 4096
_CPUS_FORM = 'processors as a list or a text such as [0, 1] or "0-3,6"'


_COUNT_FORM = "a whole number from 0"


def _count(value: str | float) -> float:
    if not isinstance(value, int) or value < 0:
        raise UnitError(f"{show(value)} is not accepted", _COUNT_FORM)
    return value


#: The limits of setrlimit(2) by their names there, in lower case, with how each is written.
LIMITS: Mapping[str, tuple[Callable[[str | float], float], str]] = {
    "as": (parse_size, SIZE_FORM),
    "core": (parse_size, SIZE_FORM),
    "cpu": (parse_duration, DURATION_FORM),
    "data": (parse_size, SIZE_FORM),
    "fsize": (parse_size, SIZE_FORM),
    "memlock": (parse_size, SIZE_FORM),
    "msgqueue": (parse_size, SIZE_FORM),
    "nice": (_count, _COUNT_FORM),
    "nofile": (_count, _COUNT_FORM),
    "nproc": (_count, _COUNT_FORM),
    "rss": (parse_size, SIZE_FORM),
    "rtprio": (_count, _COUNT_FORM),
    "sigpending": (_count, _COUNT_FORM),
    "stack": (parse_size, SIZE_FORM),
}


def octal(given: FileValue) -> object:
    """Read a mode in octal digits; a text, because a bare 27 would be decimal."""
    if not isinstance(given.raw, str) or not _MODE.fullmatch(given.text):
        return given.bad('a text of three or four octal digits such as "027"')
    return int(given.text, 8)


def limits(given: FileValue) -> object:
    """Read a table of resource limits."""
    if not isinstance(given.raw, dict):
        return given.bad('a table of limits such as { nofile = 65536, core = 0, as = "2GiB" }')
    result = {
        name: pair for name, value in given.raw.items() if (pair := _limit(given, name, value)) is not None
    }
    return result if len(result) == len(given.raw) else BAD


def _limit(given: FileValue, name: str, value: object) -> tuple[int, int] | None:
    path = (*given.path, name)
    if name not in LIMITS:
        given.report.unknown(path, name, tuple(LIMITS))
        return None
    parse, form = LIMITS[name]
    parts = value if isinstance(value, list) else [value, value]
    expected = f'{form}, "unlimited", or [soft, hard] of these'
    if len(parts) != 2:
        given.report.error(path, f"a list of {len(parts)} is not accepted", expected)
        return None
    numbers: list[int] = []
    for part in parts:
        if part == "unlimited":
            numbers.append(UNLIMITED)
            continue
        try:
            if isinstance(part, bool) or not isinstance(part, (str, int, float)):
                raise UnitError(f"{show(part)} is not accepted", form)
            numbers.append(int(parse(part)))
        except UnitError as error:
            given.report.error(path, error.wrong, expected)
            return None
    soft, hard = numbers
    if hard != UNLIMITED and (soft == UNLIMITED or soft > hard):
        given.report.error(path, "the soft limit is above the hard one", "[soft, hard] with soft <= hard")
        return None
    return soft, hard


def cpus(given: FileValue) -> object:
    """Read numbers of processors, as a list or as ranges."""
    if isinstance(given.raw, str):
        found = _cpu_ranges(given.text)
    elif isinstance(given.raw, list):
        found = [cpu for cpu in given.raw if isinstance(cpu, int) and not isinstance(cpu, bool)]
        found = found if len(found) == len(given.raw) else []
    else:
        found = []
    if not found and given.raw not in ("", []):
        return given.bad(_CPUS_FORM)
    if any(not 0 <= cpu < _MAX_CPUS for cpu in found):
        return given.bad(_CPUS_FORM, f"a processor is outside 0 to {_MAX_CPUS - 1}")
    return tuple(sorted(set(found)))


def _cpu_ranges(text: str) -> list[int]:
    """Return the processors that ``0-3,6`` lists; nothing when it is something else."""
    found: list[int] = []
    for part in text.split(","):
        match = _CPU_RANGE.fullmatch(part.strip())
        if match is None:
            return []
        first = int(match[1])
        found.extend(range(first, int(match[2] or first) + 1))
    return found
