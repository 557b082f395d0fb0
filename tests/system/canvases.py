"""Canvases of Celery's, made at random, and what came of each: for a comparison of workers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from celery import Celery, chain, chord, group
from celery.result import AsyncResult, GroupResult

_DEEPEST = 3


class Canvas:
    """One canvas: the same for the same seed, whichever worker it goes to."""

    def __init__(self, client: Celery, seed: int, directory: Path) -> None:
        self._client, self._seed = client, seed
        self._random = random.Random(seed)
        self._tags = 0
        self._path = directory / f"called-{seed}"
        self._path.touch()
        self.signature = self._compound(0)
        self.result = self.signature.apply_async()

    def _tag(self) -> int:
        self._tags += 1
        return self._tags

    def _task(self) -> Any:
        if self._random.random() < 0.12:
            return self._client.signature("both.bad", immutable=self._random.random() < 0.3)
        return self._client.signature(
            "both.shape", args=(self._tag(),), immutable=self._random.random() < 0.3
        )

    def _linked(self) -> Any:
        kwargs = {"tag": self._tag(), "path": str(self._path)}
        return self._client.signature("both.called", kwargs=kwargs)

    def _any(self, depth: int) -> Any:
        made = self._task() if depth >= _DEEPEST or self._random.random() < 0.5 else self._compound(depth)
        if self._random.random() < 0.15:
            made.link_error(self._linked())
        return made

    def _several(self, depth: int, least: int = 2) -> list[Any]:
        return [self._any(depth + 1) for _ in range(self._random.randint(least, 3))]

    def _compound(self, depth: int) -> Any:
        match self._random.choice(("chain", "group", "chord")):
            case "chain":
                made = chain(*self._several(depth), app=self._client)
            case "group":
                made = group(self._several(depth), app=self._client)
            case _:
                made = chord(self._several(depth, 1), self._any(depth + 1), app=self._client)
        if self._random.random() < 0.3:
            made.link_error(self._linked())
        return made

    def called(self) -> Counter[int]:
        """Return how often each errback was called."""
        return Counter(int(line) for line in self._path.read_text().split())

    def __str__(self) -> str:
        return f"canvas {self._seed}, {self.signature!r}"

    def ended(self) -> bool:
        """Return whether nobody waits any more."""
        return all(each.ready() for each in self.leaves())

    def leaves(self) -> Sequence[AsyncResult]:
        """Return the results that whoever sent it waits for."""
        found = _leaves(self.result)
        return [AsyncResult(each.id, app=self._client) for each in found]

    def outcome(self) -> list[object]:
        """Return how each of ``leaves`` ended."""
        return [
            each.result if each.state == "SUCCESS" else (each.state, type(each.result).__name__)
            for each in self.leaves()
        ]


def _leaves(result: Any) -> list[Any]:
    if isinstance(result, GroupResult):
        return [leaf for each in result.results for leaf in _leaves(each)]
    return [result]
