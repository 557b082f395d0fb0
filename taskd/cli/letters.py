"""How taskctl shows a letter: facts for programs, and for people the evidence as it reads best."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import msgspec

from taskd.base.exit_codes import describe_signal
from taskd.base.safe_text import block, json_text, one_line
from taskd.brokers.desk import DeadLetter, DeadMessage
from taskd.cli.output import local_time, size

COLUMNS = ("ID", "QUEUE", "DIED", "DEATHS", "TASK", "TASK ID", "REASON")
_INDENT = "    "


def row(letter: DeadLetter) -> tuple[object, ...]:
    """Return the cells of ``COLUMNS``."""
    died = local_time(letter.died_at)
    return letter.id, letter.queue, died, letter.deaths, letter.task, letter.task_id, letter.reason


def facts(letter: DeadLetter) -> dict[str, object]:
    """Return what a list knows of a letter."""
    return {
        "id": letter.id,
        "queue": letter.queue,
        "task": letter.task,
        "task_id": letter.task_id,
        "reason": letter.reason,
        "died_at": letter.died_at,
        "deaths": letter.deaths,
        "state": letter.kind.value,
    }


def all_facts(dead: DeadMessage) -> dict[str, object]:
    """Return everything, decoded where it can be."""
    return facts(dead.letter) | {
        "evidence": decoded(dead.evidence),
        "headers": decoded(dead.headers),
        "content_type": dead.content_type,
        "content_encoding": dead.content_encoding,
        "body": decoded(dead.body),
    }


def lines(dead: DeadMessage) -> Iterator[str]:
    """Yield the letter for people: reason, evidence, headers, body; safe to print as it is."""
    letter = dead.letter
    yield f"id: {letter.id}"
    yield f"queue: {one_line(letter.queue)}"
    yield f"task: {one_line(letter.task) or '(no name)'}"
    yield f"task id: {one_line(letter.task_id) or '(none)'}"
    yield f"state: {letter.kind.value}"
    yield f"died: {local_time(letter.died_at)}"
    yield f"reason: {one_line(letter.reason)}"
    evidence = decoded(dead.evidence)
    if not isinstance(evidence, dict):
        yield f"evidence: {_text(evidence)}"
    else:
        for key, value in evidence.items():
            yield from _evidence(one_line(str(key)), value)
    yield f"headers: {_text(decoded(dead.headers))}"
    yield f"content: {one_line(dead.content_type)}, {one_line(dead.content_encoding)}, {size(len(dead.body))}"
    yield f"body: {_text(decoded(dead.body))}"


def _evidence(key: str, value: object) -> Iterator[str]:
    if value in (None, "") or (key == "signal" and value == 0):
        return
    name = key.replace("_", " ")
    if key == "signal" and isinstance(value, int):
        yield f"ended by: {describe_signal(value)}"
    elif key == "failed_at":
        return  # it stands above
    elif key.endswith("_s") and isinstance(value, (int, float)):
        yield f"{name.removesuffix(' s')}: {value:g} s"
    elif key.endswith("_bytes") and isinstance(value, int):
        yield f"{name.removesuffix(' bytes')}: {size(value)}"
    elif isinstance(value, str) and "\n" in value.strip():
        yield f"{name}:"
        yield from (_INDENT + one_line(line) for line in value.rstrip().split("\n"))
    else:
        yield f"{name}: {_text(value)}"


def _text(value: object) -> str:
    if isinstance(value, str):
        return block(value)
    return json_text(msgspec.json.format(msgspec.json.encode(value)).decode())


def decoded(data: bytes) -> object:
    """Return JSON values, else text, else base64: a letter may hold anything."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(data).decode()}"
