"""Whether a service's user can execute what the unit starts: the script, its Python, and the way to them.

systemd says 203/EXEC of all that, and not which part it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from taskd.cli.doctor.facts import FilePlace, Who

#: Properties of a unit that hide a directory; with "read-only" it can be seen.
_HIDDEN = (
    ("/root", "ProtectHome", {"yes", "tmpfs"}),
    ("/home", "ProtectHome", {"yes", "tmpfs"}),
    ("/run/user", "ProtectHome", {"yes", "tmpfs"}),
    ("/tmp", "PrivateTmp", {"yes"}),  # noqa: S108 - a comparison
    ("/var/tmp", "PrivateTmp", {"yes"}),  # noqa: S108 - likewise
)
SHIPPED = {"ProtectHome": "yes", "PrivateTmp": "yes"}
_SHEBANG_BYTES = 512


def executed_by(command: str) -> Sequence[str]:
    """Return the paths that the start of a script needs: itself, its interpreter, and where links lead."""
    found = [command]
    try:
        with open(command, "rb") as file:
            first = file.read(_SHEBANG_BYTES).partition(b"\n")[0]
    except OSError:
        first = b""
    if first.startswith(b"#!"):
        found += [os.fsdecode(word) for word in first[2:].split()[:1]]
    return list(dict.fromkeys(each for path in found for each in (path, os.path.realpath(path))))


def unreachable(
    paths: Sequence[str], who: Who, properties: Mapping[str, str], place: Callable[[str], FilePlace]
) -> Iterator[str]:
    """Say of each path why the user cannot execute it under a unit with these properties.

    ``place`` looks at a path.
    """
    for path in paths:
        hidden = next((each for each in _HIDDEN if path.startswith(f"{each[0]}/")), None)
        if hidden is not None and properties.get(hidden[1]) in hidden[2]:
            yield f"{path} lies below {hidden[0]}, which the unit hides ({hidden[1]}={properties[hidden[1]]})"
            continue
        way = [path]
        while way[0] != os.path.dirname(way[0]):
            way.insert(0, os.path.dirname(way[0]))
        for each in map(place, way):
            if each.mode is None:
                yield f"{each.path} does not exist"
                break
            if not each.allows(who, 1):
                yield (
                    f"{who.name} may not pass {each.path}"
                    if each.path != path
                    else f"{who.name} may not execute {path}"
                )
                break


REMEDY = (
    "make a virtualenv whose Python everybody may execute, outside of /root, /home and /tmp: "
    "/usr/bin/python3 -m venv /opt/taskd; or ProtectHome=read-only in a drop-in, and chmod o+x on the way"
)
