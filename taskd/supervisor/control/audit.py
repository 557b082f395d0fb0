"""The record of who asked for what over the control socket, as lines of the log with fields."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

import msgspec

from taskd.base import clock
from taskd.supervisor.control.access import METHOD_ROLES, Peer, Role

_log = logging.getLogger(__name__)

_LONGEST_PARAMS = 300
#: How long a user that is turned away is not noted again, and how many users are remembered for that.
_SILENT_S = 10.0
_MOST_UIDS = 1000


class Audit:
    """Writes one line for each request: INFO for a change, DEBUG for a look.

    A request refused for want of a role is a WARNING.  ``user_names`` are those of the local users.
    """

    def __init__(self, user_names: Mapping[int, str]) -> None:
        self._user_names = user_names
        self._silent_until: dict[int, float] = {}

    def done(self, peer: Peer, method: str, params: Mapping[str, object]) -> None:
        """Note what was carried out, or is under way."""
        self._write(self._level(method), peer, method, params, "ok")

    def failed(self, peer: Peer, method: str, params: Mapping[str, object], why: str) -> None:
        """Note what the daemon could not do, or not now."""
        self._write(self._level(method), peer, method, params, f"failed: {why}")

    def refused(self, peer: Peer, method: str, params: Mapping[str, object]) -> None:
        """Note what the peer may not do."""
        self._write(logging.WARNING, peer, method, params, "refused: no permission")

    def turned_away(self, peer: Peer) -> None:
        """Note who connected without a role; one that tries without end is noted once in a while."""
        now = clock.monotonic()
        if now < self._silent_until.get(peer.uid, -math.inf):
            return
        if len(self._silent_until) >= _MOST_UIDS:
            self._silent_until.clear()
        self._silent_until[peer.uid] = now + _SILENT_S
        self._write(logging.WARNING, peer, "connect", {}, "refused: no role")

    def _level(self, method: str) -> int:
        return logging.DEBUG if METHOD_ROLES.get(method) is Role.VIEWER else logging.INFO

    def _write(self, level: int, peer: Peer, method: str, params: Mapping[str, object], outcome: str) -> None:
        if not _log.isEnabledFor(level):
            return
        given = msgspec.json.encode(params).decode()
        if len(given) > _LONGEST_PARAMS:
            given = given[:_LONGEST_PARAMS] + "..."
        _log.log(
            level,
            "audit user=%s uid=%s gid=%s pid=%s%s verb=%s params=%s outcome=%r",
            self._user_names.get(peer.uid, "?"),
            peer.uid,
            peer.gid,
            peer.pid,
            " via=systemd" if peer.is_of_systemd else "",
            method,
            given,
            outcome,
        )
