"""Users and groups of this machine: the peer of a connection, and the members that [control] names."""

from __future__ import annotations

import grp
import logging
import os
import pwd
import socket
import struct
from collections.abc import Iterable, Mapping

from taskd.config.control import ControlConfig
from taskd.supervisor.control.access import Access, Peer, Role, RoleMembers

_log = logging.getLogger(__name__)

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_SO_PEERGROUPS = 59  # asm-generic/socket.h, Linux 4.13; the standard library has no name for it
_GID_BYTES = 4
# The kernel takes no larger buffer; a peer with more groups is known by its first one alone.
_GROUPS_BYTES = 1024


def peer_of(connection: socket.socket) -> Peer:
    """Return who connected.  Raises: ``OSError`` when the kernel does not say."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(credentials)
    try:
        groups = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:
        groups = b""
    supplementary = struct.unpack(f"{len(groups) // _GID_BYTES}I", groups)
    gids = frozenset({gid, *supplementary})
    return Peer(pid=pid, uid=uid, gid=gid, gids=gids, is_of_systemd=_is_of_systemd(pid))


def _is_of_systemd(pid: int) -> bool:
    """Return whether a process is a child of pid 1, and in the control group that systemd gave this daemon.

    A task cannot pass for it: what it detaches becomes a child of the daemon.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            parent = file.read().rpartition(b")")[2].split()[1]
    except (OSError, IndexError):
        return False
    return parent == b"1" and "INVOCATION_ID" in os.environ


def access(config: ControlConfig) -> Access:
    """Return the roles of the configuration; names that the machine does not know get none, and a warning.

    Asks the name service, which may take its time: for the start and for a reload.
    """
    lists = {Role.VIEWER: config.viewers, Role.OPERATOR: config.operators, Role.ADMIN: config.admins}
    members = {role: _members(names, f"control.{role.name.lower()}s") for role, names in lists.items()}
    return Access(own_uid=os.geteuid(), members={role: who for role, who in members.items() if who})


def unknown_names(names: Iterable[str]) -> list[str]:
    """Return those of a list of [control] that this machine does not know."""
    return [name for name in names if _number(name) is None]


def user_names(path: str = "/etc/passwd") -> Mapping[int, str]:
    """Return the names of the local users.

    From the file and not from the name service: the loop, which must not wait for a directory server,
    needs them for its log.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            entries = [line.split(":") for line in file]
    except OSError:
        return {}
    return {int(entry[2]): entry[0] for entry in entries if len(entry) > 2 and entry[2].isdigit()}


def _members(names: Iterable[str], key: str) -> RoleMembers | None:
    uids = set()
    gids = set()
    for name in names:
        number = _number(name)
        if number is None:
            kind = "group" if name.startswith("@") else "user"
            _log.warning("%s: there is no %s %r on this machine; nobody gets the role by it", key, kind, name)
        elif name.startswith("@"):
            gids.add(number)
        else:
            uids.add(number)
    return RoleMembers(frozenset(uids), frozenset(gids)) if uids or gids else None


def _number(name: str) -> int | None:
    bare = name.removeprefix("@")
    if bare.isdigit():
        return int(bare)
    try:
        return grp.getgrnam(bare).gr_gid if name.startswith("@") else pwd.getpwnam(bare).pw_uid
    except KeyError:
        return None
