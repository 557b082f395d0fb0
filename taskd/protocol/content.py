"""Read a body by the names on its message: how it is compressed, and by which serializer it was written.

The names are kombu's.  Pickle runs code that the sender chose, so it is read only where the configuration
allows it by name.
"""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any

import msgspec

from taskd.base.errors import SerializationError
from taskd.protocol import budget, serializers
from taskd.protocol.compression import unpacked


class Serializer(str, Enum):
    """How arguments are written, by the names of Celery's ``accept_content``."""

    JSON = "json"
    MSGPACK = "msgpack"
    YAML = "yaml"
    PICKLE = "pickle"


Accepted = frozenset[Serializer]


def accepted_by(names: Iterable[str]) -> Accepted:
    """Return what a configuration's ``accept_content`` allows; it is checked already."""
    return frozenset(map(Serializer, names))


_accepted: Accepted = frozenset({Serializer.JSON})


def use(names: Iterable[str], max_bytes: int, max_containers: int) -> None:
    """Let this process read what its configuration allows: the three options of that table."""
    global _accepted  # noqa: PLW0603 - readers are everywhere, and a process has one configuration
    _accepted = accepted_by(names)
    budget.use(budget.Budget(max_bytes, max_containers))


def safe() -> Accepted:
    """Return what this process reads without running anything: never pickle."""
    return _accepted - {Serializer.PICKLE}


# The second name of a kind is an older or an official alias of the first, which is kombu's.
_KINDS: Mapping[str, Serializer] = {
    "application/json": Serializer.JSON,
    "application/x-msgpack": Serializer.MSGPACK,
    "application/msgpack": Serializer.MSGPACK,
    "application/x-yaml": Serializer.YAML,
    "application/yaml": Serializer.YAML,
    "application/x-python-serialize": Serializer.PICKLE,
    "application/pickle": Serializer.PICKLE,
}
#: PyYAML reads some hundred kilobytes a second where its C half is not built.
_MOST_YAML_BYTES = 2**20
_ENDLESS = 2**62
_NESTED = "it is nested too deeply"


def read(
    body: bytes,
    content_type: str,
    compression: str | None = None,
    accepted: Accepted | None = None,
) -> object:
    """Return the value of a body; ``compression`` is the header of that name.

    ``accepted``: None for what this process reads safely.

    JSON and YAML are read as UTF-8, as kombu does, whatever the content encoding says: producers of other
    languages write "binary", "UTF8" or nothing.

    Raises: ``SerializationError`` naming what is refused, what is not installed, or what is broken.
    """
    kind = _kind(content_type)
    if kind not in (safe() if accepted is None else accepted):
        raise SerializationError(_why_not_accepted(content_type, kind))
    if compression:
        body = unpacked(body, compression, budget.current().max_bytes)
    return _READERS[kind](body)


def _kind(content_type: str) -> Serializer:
    name = content_type.partition(";")[0].strip().lower()
    kind = _KINDS.get(name)
    if kind is None:
        raise SerializationError(
            f'content type "{content_type}" is not known; expected one of {", ".join(sorted(_KINDS))}'
        )
    return kind


def _why_not_accepted(content_type: str, kind: Serializer) -> str:
    if kind is Serializer.PICKLE:
        return (
            f'content type "{content_type}" (pickle) is refused: reading it runs code of the sender; '
            f'have the producer send JSON (in Celery: task_serializer = "json"), or add "pickle" to '
            f"accept_content if you trust everybody who can write to the broker"
        )
    return (
        f'content type "{content_type}" is refused; "{kind.value}" is not in accept_content: have the '
        f'producer send JSON, or add "{kind.value}" to accept_content'
    )


def _from_msgpack(body: bytes) -> object:
    budget.check_msgpack(body, "the body")
    try:
        return msgspec.msgpack.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise SerializationError(f"the body is not msgpack: {error}") from error
    except RecursionError as error:
        raise SerializationError(f"the body is not msgpack that can be read: {_NESTED}") from error


def _from_yaml(body: bytes) -> object:
    if importlib.util.find_spec("yaml") is None:
        raise SerializationError(
            'the body is YAML, and PyYAML is not installed where the task runs: pip install "taskd[yaml]"'
        )
    import yaml  # type: ignore[import-untyped]

    if len(body) > _MOST_YAML_BYTES:
        raise SerializationError(
            f"the body is YAML of {len(body)} bytes; expected {_MOST_YAML_BYTES} at most, because reading it "
            "takes seconds: have the producer send JSON"
        )
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(body.decode())
        try:
            tree = loader.get_single_node()
            if tree is None:
                return None
            if _yaml_size(tree) > budget.current().max_containers:
                raise SerializationError("the body is YAML whose anchors and merges make it too large")
            value: object = loader.construct_document(tree)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError) as error:
        raise SerializationError(f"the body is not YAML: {error}") from error
    except RecursionError as error:
        raise SerializationError(f"the body is not YAML that can be read: {_NESTED}") from error
    return value


def _yaml_size(node: Any, known: dict[int, int] | None = None) -> int:
    """Return how many nodes a tree has with each alias spelt out; an alias to its own whole is endless."""
    known = {} if known is None else known
    size = known.get(id(node))
    if size is None:
        known[id(node)] = _ENDLESS
        children = node.value if isinstance(node.value, (list, tuple)) else ()
        parts = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
        size = known[id(node)] = 1 + sum(_yaml_size(part, known) for part in parts)
    return size


def _from_pickle(body: bytes) -> object:
    budget.check_size(len(body), "the body")
    try:
        value: object = pickle.loads(body)  # noqa: S301 - the operator has allowed it by name
    except Exception as error:
        raise SerializationError(f"the pickle cannot be read: {type(error).__name__}: {error}") from error
    return value


_READERS: Mapping[Serializer, Callable[[bytes], object]] = {
    Serializer.JSON: serializers.loads,
    Serializer.MSGPACK: _from_msgpack,
    Serializer.YAML: _from_yaml,
    Serializer.PICKLE: _from_pickle,
}
