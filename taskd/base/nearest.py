"""Did you mean: the known name that a mistyped word stands for.

One rule for options, keys, tasks, queues, programs and verbs.  A name is close when few slips of the finger
lead to it: a letter too many, missing or wrong, or two neighbours exchanged.  An unfinished word means the
one name that begins with it.  A name that only looks alike is not offered: a wrong remedy costs more than
none.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Words of at least this many characters may have this many slips; shorter ones differ in case alone.
_SLIPS = ((12, 3), (8, 2), (2, 1))
#: Characters of an unfinished word that can mean one name alone.
_BEGINNING = 3


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known name that is closest to the word; an empty text when none is close."""
    folded = _folded(word)
    most = next((slips for length, slips in _SLIPS if len(folded) >= length), 0)
    best = ""
    begun = []
    for name in known:
        other = _folded(name)
        if other.startswith(folded):
            begun.append(name)
        slips = _slips(folded, other, most)
        if slips <= most:
            best = name
            most = slips - 1
        if most < 0:
            break
    if not best and len(begun) == 1 and len(folded) >= _BEGINNING:
        best = begun[0]
    return best


def _folded(word: str) -> str:
    return word.casefold().replace("-", "_")


def _slips(one: str, other: str, most: int) -> int:
    """Return the number of slips between two words; more than ``most`` when it is more."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        now = [i]
        for j, b in enumerate(other, 1):
            slips = min(row[j] + 1, now[j - 1] + 1, row[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                slips = min(slips, before[j - 2] + 1)
            now.append(slips)
        if min(now) > most:
            return most + 1
        before, row = row, now
    return row[-1]
