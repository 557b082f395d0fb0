"""How long a beat's lease is relied on before it is asked for again."""

from __future__ import annotations

from typing import cast

from taskd.beat.keeper import Keeper, Leader
from taskd.beat.stores.base import BeatStore, Leadership


class OneHolder:
    """The part of a store that gives the lease, always to who asks."""

    def __init__(self) -> None:
        self.asked_at: list[float] = []
        self.now = 100.0

    def lead(self, lease_s: float, *, succeed: bool) -> Leadership:
        self.asked_at.append(self.now)
        return Leadership(term=1, holder="me", until=self.now + lease_s, is_mine=True)


def test_a_lease_is_extended_before_it_has_little_trust_left() -> None:
    store = OneHolder()
    keeper = Keeper(
        lambda: cast("BeatStore", store),
        lease_s=5.0,
        monotonic=lambda: store.now,
        opened=lambda _: None,
        closed=lambda _: None,
    )
    keeper.open()

    # An entry that is due each second: what is sent has at least one second of trust.
    left = []
    for _ in range(12):
        standing = keeper.stand()
        assert isinstance(standing, Leader)
        left.append(standing.trusted_until - store.now)
        store.now += 1.0

    assert min(left) > 1.0
    assert store.asked_at == [100.0, 103.0, 106.0, 109.0]
