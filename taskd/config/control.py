"""The table of who may do what over the control socket: [control]."""

from __future__ import annotations

import re
from dataclasses import dataclass

from taskd.config.option import Applies, ValueForm, option

#: A user's name, a group's as ``@name``, or their numbers: ``1000``, ``@1000``.
WHO = re.compile(r"@?([0-9]{1,10}|[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?)", re.ASCII)
WHO_FORM = 'a user ("alice" or "1000") or a group ("@deploy" or "@1000")'
#: Bits beyond read and write mean nothing on a socket.
SOCKET_MODE = re.compile(r"0?[0-7]{3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """[control]: who may do what over the control socket. Root and the daemon's own user are admins."""

    viewers: tuple[str, ...] = option(
        ValueForm.TEXT_LIST,
        'Users ("alice", "1000") and groups ("@ops") that may look.',
        factory=tuple,
        applies=Applies.LIVE,
    )
    operators: tuple[str, ...] = option(
        ValueForm.TEXT_LIST,
        "Users and groups that may also start, stop, restart, scale, signal and reload.",
        factory=tuple,
        applies=Applies.LIVE,
    )
    admins: tuple[str, ...] = option(
        ValueForm.TEXT_LIST,
        "Users and groups that may also shut the daemon down.",
        factory=tuple,
        applies=Applies.LIVE,
    )
    socket_mode: str = option(
        ValueForm.TEXT,
        'Permissions of the socket file, octal. "0660" lets its group connect; then the lists decide.',
        default="0600",
        applies=Applies.RESTART,
    )
    socket_group: str = option(
        ValueForm.TEXT,
        "Group of the socket file. Empty means the daemon's.",
        default="",
        applies=Applies.RESTART,
    )
