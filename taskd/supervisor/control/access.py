"""Decides who may call which method of the control socket.  Pure, and denies unknown methods.

The kernel names the peer of a Unix socket (SO_PEERCRED of unix(7)).  The lists of [control] give it a role,
and ``METHOD_ROLES`` is the one place that says which role a method needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

#: The uid of all users that have no number in this user namespace (user_namespaces(7)): anybody.
OVERFLOW_ID = 65534


class Role(IntEnum):
    """The rights of a peer; each role includes those before it."""

    NOBODY = 0
    VIEWER = 1  # looks
    OPERATOR = 2  # changes what runs
    ADMIN = 3  # ends the daemon


#: The role that each method needs.  A method that does not stand here needs ``ADMIN``.
METHOD_ROLES: Mapping[str, Role] = {
    "status": Role.VIEWER,
    "autoscale": Role.VIEWER,
    "logs": Role.VIEWER,
    "deaths": Role.VIEWER,
    "children": Role.VIEWER,
    "start": Role.OPERATOR,
    "stop": Role.OPERATOR,
    "restart": Role.OPERATOR,
    "roll": Role.OPERATOR,
    "scale": Role.OPERATOR,
    "signal": Role.OPERATOR,
    "reload": Role.OPERATOR,
    "plan": Role.VIEWER,
    "shutdown": Role.ADMIN,
}

_LISTS = {Role.VIEWER: "viewers", Role.OPERATOR: "operators", Role.ADMIN: "admins"}


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end, as the kernel saw it when it connected."""

    pid: int
    uid: int
    gid: int
    #: Its group and its supplementary ones.
    gids: frozenset[int]
    #: Whether systemd started it: ``systemctl reload`` calls taskctl as the user of the unit.
    is_of_systemd: bool = False


@dataclass(frozen=True, slots=True)
class RoleMembers:
    """The users and groups that have one role."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()

    def __contains__(self, peer: Peer) -> bool:
        return (peer.uid in self.uids and peer.uid != OVERFLOW_ID) or bool(
            (peer.gids & self.gids) - {OVERFLOW_ID}
        )


@dataclass(frozen=True, slots=True)
class Access:
    """The roles that a configuration gives, beside root and ``own_uid``, which are admins."""

    own_uid: int
    members: Mapping[Role, RoleMembers] = field(default_factory=dict)

    def role_of(self, peer: Peer) -> Role:
        """Return the highest role of a peer."""
        if peer.uid in {0, self.own_uid}:
            return Role.ADMIN
        return max((role for role, who in self.members.items() if peer in who), default=Role.NOBODY)

    def turning_away(self, peer: Peer) -> str:
        """Return why the peer may not even stay connected; an empty text when it has a role."""
        if self.role_of(peer) is not Role.NOBODY:
            return ""
        lists = "[control] viewers, operators or admins"
        return (
            f"uid {peer.uid} has no role here: put the user or one of its groups into {lists}, and reload "
            "taskd, or call it as root"
        )

    def refusal(self, method: str, peer: Peer) -> str:
        """Return why the peer may not call the method, with the remedy; an empty text when it may."""
        needed = METHOD_ROLES.get(method, Role.ADMIN)
        has = self.role_of(peer)
        if has >= needed:
            return ""
        needs = f"{method} needs the role {needed.name.lower()}"
        remedy = f"[control] {_LISTS[needed]}, and reload taskd, or call it as root"
        if has is Role.NOBODY:
            return f"{needs}, and uid {peer.uid} has none: put the user or one of its groups into {remedy}"
        return f"{needs}, and uid {peer.uid} is {has.name.lower()}: put the user into {remedy}"
