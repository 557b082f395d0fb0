"""Whether the last change of a group works out, and what the group goes back to when it does not.

A change begins a probation.  Its first new program, the *canary*, passes when it has worked for
``canary_time``; new programs that have died ``roll_attempts`` times fail it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from taskd.base.plural import counted
from taskd.config.daemon import SupervisorConfig
from taskd.supervisor.model.machine import State
from taskd.supervisor.model.rolling import Presence, Size
from taskd.supervisor.programs.member import Member
from taskd.supervisor.programs.membership import Membership
from taskd.supervisor.programs.revision import Revision

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """The aim of a group, and its reason; without a revision it has none yet."""

    revision: Revision | None = None
    size: Size = Size(0, 0, 1)  # noqa: RUF009 - it is frozen
    reason: str = ""


class Probation:
    """The probation of one group; each change begins it anew."""

    def __init__(self, group: str, members: Membership) -> None:
        self._group = group
        self._members = members
        #: The last wish with which the group was complete.
        self.good: Wish | None = None
        #: The canary was passed, or none is needed.
        self.is_proven = True
        #: Why the last change did not work out; empty when it did, or may still.
        self.trouble = ""
        self._has_gone_back = False

    def begin(self, target: Revision | None) -> None:
        """A change begins: every program that does not do its work now is on probation."""
        self.trouble = ""
        self._has_gone_back = False
        staying = self._members.staying()
        for member in staying:
            member.is_on_probation = member.program.state is not State.READY
            member.program.failures = 0
        # No canary where nothing is replaced, or where such programs work already.
        works = any(member.fits(target) and not member.is_on_probation for member in staying)
        self.is_proven = works or all(member.fits(target) for member in staying)

    def succeed(self, wish: Wish) -> None:
        """The group is as it was wanted: that is what a later change goes back to."""
        if wish.revision is not None and wish.size.count:
            self.good = wish
        if not self._has_gone_back:
            self.trouble = ""
        for member in self._members.staying():
            member.is_on_probation = False

    def judge(self, target: Revision, now: float) -> float:
        """Pass the canary when it has worked long enough; return when to look again, inf for never."""
        if self.is_proven:
            return math.inf
        canary_s = target.config.supervisor.canary_time
        passes_at = min((_passes_at(each, canary_s) for each in self._on_probation(target)), default=math.inf)
        self.is_proven = passes_at <= now
        return math.inf if self.is_proven else passes_at

    def failure(self, target: Revision) -> str:
        """Return in words why the change does not work out; empty while it may."""
        on_probation = self._on_probation(target)
        settings = target.config.supervisor
        if self.trouble or not _have_died_too_often(on_probation, settings):
            return ""
        deaths = sum(each.program.failures for each in on_probation)
        worst = max(on_probation, key=lambda each: each.program.failures).program
        return f"{worst.spec.name} died {counted(deaths, 'time')}: {worst.detail or worst.reason}"

    def fail(self, wish: Wish, why: str) -> Wish:
        """Give the change up for this reason; return what is wanted instead."""
        good = self.good
        has_old = any(not member.fits(wish.revision) for member in self._members.staying())
        self.trouble = why
        if good is not None and good.revision is not None and good.revision is not wish.revision:
            has_old = True
            wish = replace(good, reason=f"back to revision {good.revision.number}: {why}")
            _log.error("group=%s goes back to revision %s: %s", self._group, good.revision.number, why)
        elif has_old:
            wish = replace(wish, reason=f"the rolling restart was given up: {why}")
            _log.error(
                "group=%s the rolling restart is given up, the old programs stay: %s", self._group, why
            )
        else:
            # Of several lines the others are a traceback, which its program has written.
            first = why.partition("\n")[0]
            _log.error("group=%s does not start, taskd goes on trying: %s", self._group, first)
        for member in self._members.staying():
            member.is_stale = False
        self._has_gone_back = has_old
        self.is_proven = True
        return wish

    def _on_probation(self, target: Revision) -> Sequence[Member]:
        return [each for each in self._members.staying() if each.is_on_probation and each.fits(target)]


def _have_died_too_often(members: Sequence[Member], settings: SupervisorConfig) -> bool:
    return bool(members) and sum(each.program.failures for each in members) >= settings.roll_attempts


def _passes_at(member: Member, canary_s: float) -> float:
    life = member.program.life
    since = life.ready_since if life else None
    return math.inf if since is None or member.presence is not Presence.READY else since + canary_s
