"""Roles of the control socket: who has one, and what each may call."""

from __future__ import annotations

from typing import Any, cast

import pytest

from taskd.base.loop import Loop
from taskd.supervisor.control import records
from taskd.supervisor.control.access import METHOD_ROLES, OVERFLOW_ID, Access, Peer, Role, RoleMembers
from taskd.supervisor.control.methods import Methods
from taskd.supervisor.programs.fleet import Fleet
from taskd.supervisor.programs.program import Program
from taskd.supervisor.scaling.scaler import Scaler

OWN = 990


def access(**lists: RoleMembers) -> Access:
    return Access(own_uid=OWN, members={Role[name.upper()]: who for name, who in lists.items()})


def peer(uid: int = 1000, *gids: int) -> Peer:
    return Peer(pid=1, uid=uid, gid=uid, gids=frozenset(gids or {uid}))


@pytest.mark.parametrize("uid", [0, OWN])
def test_root_and_the_daemons_own_user_are_admins(uid: int) -> None:
    assert access().role_of(peer(uid)) is Role.ADMIN


def test_who_stands_in_no_list_may_do_nothing() -> None:
    nobody = peer(1000)

    assert access().role_of(nobody) is Role.NOBODY
    assert (
        access().refusal("status", nobody).startswith("status needs the role viewer, and uid 1000 has none")
    )


def test_a_user_has_the_highest_role_of_its_lists() -> None:
    both = access(viewer=RoleMembers(uids=frozenset({1000})), operator=RoleMembers(gids=frozenset({50})))

    assert both.role_of(peer(1000)) is Role.VIEWER
    assert both.role_of(peer(1000, 1000, 50)) is Role.OPERATOR


def test_a_role_may_do_what_the_lower_ones_may_and_no_more() -> None:
    rules = access(operator=RoleMembers(uids=frozenset({1000})))

    assert rules.refusal("status", peer()) == ""
    assert rules.refusal("restart", peer()) == ""
    assert "[control] admins" in rules.refusal("shutdown", peer())


def test_a_method_that_nobody_gave_a_role_is_for_admins() -> None:
    rules = access(operator=RoleMembers(uids=frozenset({1000})))

    assert rules.refusal("a-new-method", peer())
    assert rules.refusal("a-new-method", peer(0)) == ""


def test_the_number_that_stands_for_everybody_in_a_user_namespace_gets_no_role() -> None:
    rules = access(
        viewer=RoleMembers(uids=frozenset({OVERFLOW_ID})), operator=RoleMembers(gids=frozenset({OVERFLOW_ID}))
    )

    assert rules.role_of(peer(OVERFLOW_ID)) is Role.NOBODY


def test_every_method_stands_in_the_table_of_roles() -> None:
    def make(*_: object) -> Program:
        raise AssertionError("not called")

    loop = Loop()
    fleet = Fleet(make, lambda _: None, lambda _: False, loop.attempt)
    uncalled = cast("Any", None)
    methods = Methods(fleet, Scaler(loop, fleet, lambda: None), uncalled, uncalled, changed=lambda: None)
    loop.close()

    assert {*methods.table(), *records.METHODS} == set(METHOD_ROLES)
