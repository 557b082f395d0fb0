"""Bodies as kombu's serializers and compressions write them."""

from __future__ import annotations

import pickle
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu.compression import compress, decompress, get_encoder
from kombu.serialization import dumps

from taskd.base.errors import SerializationError
from taskd.protocol import budget, compression
from taskd.protocol.content import Serializer, read
from taskd.protocol.message import decode_body

(_ODD_FLOAT,) = struct.unpack(">d", b"\x90" * 8)


def by_kombu(*names: str | None) -> list[Any]:
    """Return these parameters; one that this kombu does not know is skipped, as zstd before 5.7."""

    def is_known(name: str | None) -> bool:
        try:
            return name is None or bool(get_encoder(name))
        except KeyError:
            return False

    return [
        pytest.param(name, marks=[] if is_known(name) else [pytest.mark.skip("this kombu does not know it")])
        for name in names
    ]


BODY = ([1, "zwei", 3.5, None], {"key": [True, {"a": 1}]}, {"callbacks": None})


def packed(serializer: str, name: str | None = None) -> tuple[bytes, str, str | None]:
    content_type, _, body = dumps(BODY, serializer=serializer)
    data, header = body if isinstance(body, bytes) else body.encode(), None
    if name:
        data, header = compress(data, name)
    return data, content_type, header


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml"])
@pytest.mark.parametrize("name", by_kombu(None, *compression.NAMES))
def test_what_kombu_writes_is_read(serializer: str, name: Any) -> None:
    args, kwargs, embed = decode_body(*packed(serializer, name), accepted=frozenset(Serializer))

    assert (args, kwargs, embed) == BODY


def test_pickle_is_read_where_it_is_allowed() -> None:
    assert decode_body(*packed("pickle"), accepted=frozenset(Serializer)) == BODY


def test_pickle_is_refused_with_the_remedy() -> None:
    with pytest.raises(SerializationError, match=r"pickle.*task_serializer.*accept_content"):
        decode_body(*packed("pickle"))


def test_a_refused_pickle_is_not_even_looked_at(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(tmp_path / "ran"), "w"))

    with pytest.raises(SerializationError):
        read(pickle.dumps(Evil()), "application/x-python-serialize")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["yaml", "msgpack"])
def test_what_accept_content_leaves_out_is_refused_with_the_remedy(name: str) -> None:
    with pytest.raises(SerializationError, match=f'"{name}" is not in accept_content.*add "{name}"'):
        decode_body(*packed(name))


@pytest.mark.parametrize("content_type", ["", "text/plain"])
def test_other_content_types_are_refused(content_type: str) -> None:
    with pytest.raises(SerializationError, match="not known"):
        read(b"[]", content_type)


def test_json_is_read_in_its_other_spellings() -> None:
    assert read(b"[]", "Application/JSON; v=1") == []


@pytest.mark.parametrize(("name", "library"), [("brotli", "brotli"), ("zstd", "backports")])
def test_a_compression_whose_library_is_not_installed_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, name: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    if name == "zstd" and sys.version_info >= (3, 14):
        pytest.skip("the standard library has it")
    kind = {"brotli": "application/x-brotli", "zstd": "application/zstd"}[name]

    with pytest.raises(SerializationError, match=rf"{name}.*taskd\[compression\]"):
        read(b"x", "application/json", kind)
    with pytest.raises(SerializationError, match=rf"{name}.*taskd\[compression\]"):
        compression.packed(b"x", name)


@pytest.mark.parametrize("name", by_kombu(*compression.NAMES))
def test_what_we_compress_is_read_by_kombu(name: Any) -> None:
    body, kind = compression.packed(b"text" * 100, name)

    assert decompress(body, kind) == b"text" * 100
    assert len(body) < 100


@pytest.mark.parametrize("name", by_kombu(*compression.NAMES, "zlib", "bzip", "xz", "zstandard"))
def test_every_name_by_which_kombu_reads_a_compression_is_read(name: Any) -> None:
    body, _ = compress(b"[1]", name)

    assert read(body, "application/json", name) == [1]


def test_an_unknown_compression_is_named() -> None:
    with pytest.raises(SerializationError, match='"rot13" is not known'):
        read(b"x", "application/json", "rot13")


@pytest.mark.parametrize("name", by_kombu(*compression.NAMES))
@pytest.mark.parametrize("harm", [lambda data: data[:-3], lambda data: b"x" + data])
def test_a_damaged_body_is_refused(name: Any, harm: Any) -> None:
    data, content_type, header = packed("json", name)

    with pytest.raises(SerializationError):
        read(harm(data), content_type, header)


@pytest.fixture
def small_budget() -> Iterator[Any]:
    """A process that may read 10,000 bytes and 1,000 containers."""
    before = budget.current()
    budget.use(budget.Budget(10_000, 1000))
    yield
    budget.use(before)


@pytest.mark.parametrize("name", compression.NAMES)
@pytest.mark.usefixtures("small_budget")
def test_a_body_that_grows_without_measure_is_refused(name: Any) -> None:
    body, kind = compression.packed(b" " * 1_000_000, name)

    with pytest.raises(SerializationError, match=r"larger than|usage limit"):
        read(body, "application/json", kind)
    assert compression.unpacked(*compression.packed(b" " * 10_000, name), 10_000) == b" " * 10_000


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"[" + b"[]," * 2000 + b"[]]"),
        ("application/json", b'[{"a":{}}' + b',{"a":{}}' * 600 + b"]"),
        ("application/x-msgpack", b"\xdc\x07\xd0" + b"\x90" * 2000),
        ("application/x-msgpack", b"\xdc\x07\xd0" + b"\x81\xa1a\x90" * 2000),
        ("application/x-yaml", b"[" + b"[]," * 2000 + b"[]]"),
    ],
)
@pytest.mark.usefixtures("small_budget")
def test_containers_are_counted_before_they_are_made(content_type: str, body: bytes) -> None:
    with pytest.raises(SerializationError, match=r"lists and objects|too large"):
        read(body, content_type, accepted=frozenset(Serializer))


@pytest.mark.parametrize(
    ("content_type", "body", "value"),
    [
        ("application/json", b'["' + b"[" * 2000 + b'\\"{"]', ["[" * 2000 + '"{']),
        ("application/x-msgpack", b"\x91\xc5\x07\xd0" + b"\x90" * 2000, [b"\x90" * 2000]),
        ("application/x-msgpack", b"\x92\xcb" + b"\x90" * 8 + b"\xd9\x02ab", [_ODD_FLOAT, "ab"]),
    ],
)
@pytest.mark.usefixtures("small_budget")
def test_what_only_looks_like_a_container_is_not_counted(
    content_type: str, body: bytes, value: list[Any]
) -> None:
    found = read(body, content_type, accepted=frozenset(Serializer))

    assert found == value


def test_yaml_that_multiplies_itself_is_refused_at_once() -> None:
    level = b"a0: &a0 {k0: 1, k1: 1}\n"
    laughs = level + b"".join(
        b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 30)
    )
    merges = level + b"".join(
        b"a%d: &a%d {<<: [%s]}\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 30)
    )

    for body in (laughs, merges, b"&a [*a]"):
        with pytest.raises(SerializationError, match="anchors and merges"):
            read(body, "application/x-yaml", accepted=frozenset({Serializer.YAML}))
    with pytest.raises(SerializationError, match="have the producer send JSON"):
        read(b"- 1\n" * 300_000, "application/x-yaml", accepted=frozenset({Serializer.YAML}))


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-msgpack", b"\xc1"),
        ("application/x-msgpack", b"\x91" * 100_000),
        ("application/x-yaml", b"[1, 2"),
        ("application/x-yaml", b"!!python/object/apply:os.getpid []"),
        ("application/x-yaml", b"[" * 20_000),
        ("application/x-yaml", b"\xff"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_bytes_that_are_not_of_their_type_are_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(SerializationError):
        read(body, content_type, accepted=frozenset(Serializer))


def test_a_pickle_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(SerializationError, match="cannot be read"):
        read(b"nonsense", "application/x-python-serialize", accepted=frozenset(Serializer))
