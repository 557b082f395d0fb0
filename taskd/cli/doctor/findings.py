"""The finding of a check: its severity, the fact, why it matters, and the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class FindingSeverity(Enum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"  # good to know
    WARNING = "warning"  # works, but not as it should
    ERROR = "error"  # will not work, or is not safe


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer of one check; ``why`` and ``remedy`` are empty when all is well."""

    check: str
    severity: FindingSeverity
    what: str
    why: str = ""
    remedy: str = ""


def ok(check: str, what: str) -> Finding:
    """Return a finding without fault."""
    return Finding(check, FindingSeverity.OK, what)


def note(check: str, what: str, why: str = "", remedy: str = "") -> Finding:
    """Return something that is good to know."""
    return Finding(check, FindingSeverity.NOTE, what, why, remedy)


def warning(check: str, what: str, why: str, remedy: str) -> Finding:
    """Return something that works, but not as it should."""
    return Finding(check, FindingSeverity.WARNING, what, why, remedy)


def error(check: str, what: str, why: str, remedy: str) -> Finding:
    """Return something that will not work, or is not safe."""
    return Finding(check, FindingSeverity.ERROR, what, why, remedy)
