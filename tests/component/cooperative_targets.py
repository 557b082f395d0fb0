"""The target of the pool tests for pools whose jobs must let each other run."""

from __future__ import annotations

import asyncio
import contextvars
import os
import time

from taskd.base.errors import SoftTimeLimitExceeded
from taskd.pools.interrupt import JobAborted
from tests.component.prefork_template import target

_mark = contextvars.ContextVar("_mark", default=b"fresh")


def _mark_context(argument: bytes) -> bytes:
    before = _mark.get()
    _mark.set(argument)
    return before


def green_target(payload: bytes) -> bytes:
    """Do what ``target`` does, by calls that are patched; ``block`` does not let others run."""
    command, _, argument = payload.partition(b" ")
    match command:
        case b"spin" | b"spin-soft":
            try:
                time.sleep(float(argument))
            except SoftTimeLimitExceeded:
                if command == b"spin":
                    raise
                return b"soft"
            return b"spun"
        case b"block":
            return target(b"spin " + argument)
        case b"stubborn":
            return _stubborn(argument.decode())
        case b"mark":
            return _mark_context(argument)
    return target(payload)


def _stubborn(gate: str) -> bytes:
    while not os.path.exists(gate):
        try:
            time.sleep(0.005)
        except (JobAborted, SoftTimeLimitExceeded):
            continue
    return b"late"


async def async_target(payload: bytes) -> bytes:
    """Do what ``target`` does, awaiting where it would wait; ``block`` and ``sleep`` block the loop."""
    command, _, argument = payload.partition(b" ")
    match command:
        case b"spin" | b"spin-soft":
            try:
                await asyncio.sleep(float(argument))
            except asyncio.CancelledError as error:
                if command == b"spin" or not isinstance(error.args[0], SoftTimeLimitExceeded):
                    raise
                return b"soft"
            return b"spun"
        case b"wait-for":
            while not os.path.exists(argument):
                await asyncio.sleep(0.001)
        case b"block":
            return target(b"wait-for " + argument)
        case b"stubborn":
            while not os.path.exists(argument):
                try:
                    await asyncio.sleep(0.005)
                except asyncio.CancelledError:
                    continue
            return b"late"
        case b"mark":
            return _mark_context(argument)
    return target(payload)
