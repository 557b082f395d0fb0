"""The record of who asked for what over the control socket, as lines of the log with fields."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from taskd.supervisor.control.access import METHOD_ROLES, Peer, Role

_log = logging.getLogger(__name__)

_LONGEST_PARAMS = 300


class Audit:
    """Writes one line for each request: INFO for what changes something, DEBUG for a look.

    What was refused for want of a role is a WARNING.  ``user_names`` are those of the local users.
    """

    def __init__(self, user_names: Mapping[int, str]) -> None:
        self._user_names = user_names

    def done(self, peer: Peer, method: str, params: Mapping[str, object]) -> None:
        """Note what was carried out, or is under way."""
        self._write(self._level(method), peer, method, params, "ok")

    def failed(self, peer: Peer, method: str, params: Mapping[str, object], why: str) -> None:
        """Note what the daemon could not do, or not now."""
        self._write(self._level(method), peer, method, params, f"failed: {why}")

    def refused(self, peer: Peer, method: str, params: Mapping[str, object]) -> None:
        """Note what the peer may not do."""
        self._write(logging.WARNING, peer, method, params, "refused: no permission")

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
            "audit user=%s uid=%s gid=%s pid=%s verb=%s params=%s outcome=%r",
            self._user_names.get(peer.uid, "?"),
            peer.uid,
            peer.gid,
            peer.pid,
            method,
            given,
            outcome,
        )
