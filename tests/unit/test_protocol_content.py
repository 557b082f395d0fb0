"""Bodies as kombu's serializers and compressions write them."""

from __future__ import annotations

import pickle
import sys

import pytest
from kombu.compression import compress, decompress
from kombu.serialization import dumps

from taskd.errors import SerializationError
from taskd.protocol import compression
from taskd.protocol.content import SAFE, Serializer, read
from taskd.protocol.message import decode_body

BODY = ([1, "zwei", 3.5, None], {"key": [True, {"a": 1}]}, {"callbacks": None})


def packed(serializer: str, name: str | None = None) -> tuple[bytes, str, str | None]:
    content_type, _, body = dumps(BODY, serializer=serializer)
    data, header = body if isinstance(body, bytes) else body.encode(), None
    if name:
        data, header = compress(data, name)
    return data, content_type, header


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml"])
@pytest.mark.parametrize("name", [None, *compression.NAMES])
def test_what_kombu_writes_is_read(serializer, name):
    args, kwargs, embed = decode_body(*packed(serializer, name))

    assert (args, kwargs, embed) == BODY


def test_pickle_is_read_where_it_is_allowed():
    assert decode_body(*packed("pickle"), accepted=SAFE | {Serializer.PICKLE}) == BODY


def test_pickle_is_refused_with_the_remedy():
    with pytest.raises(SerializationError, match=r"pickle.*task_serializer.*accept_content"):
        decode_body(*packed("pickle"))


def test_a_refused_pickle_is_not_even_looked_at(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    with pytest.raises(SerializationError):
        read(pickle.dumps(Evil()), "application/x-python-serialize")
    assert not (tmp_path / "ran").exists()


def test_what_accept_content_leaves_out_is_refused():
    with pytest.raises(SerializationError, match='"yaml" is not in accept_content'):
        decode_body(*packed("yaml"), accepted=frozenset({Serializer.JSON}))


@pytest.mark.parametrize("content_type", ["", "text/plain"])
def test_other_content_types_are_refused(content_type):
    with pytest.raises(SerializationError, match="not known"):
        read(b"[]", content_type)


def test_json_is_read_in_its_other_spellings():
    assert read(b"[]", "Application/JSON; v=1") == []


@pytest.mark.parametrize(("name", "library"), [("brotli", "brotli"), ("zstd", "backports")])
def test_a_compression_whose_library_is_not_installed_is_named_with_the_remedy(monkeypatch, name, library):
    monkeypatch.setitem(sys.modules, library, None)
    if name == "zstd" and sys.version_info >= (3, 14):
        pytest.skip("the standard library has it")
    kind = {"brotli": "application/x-brotli", "zstd": "application/zstd"}[name]

    with pytest.raises(SerializationError, match=rf"{name}.*taskd\[compression\]"):
        read(b"x", "application/json", kind)
    with pytest.raises(SerializationError, match=rf"{name}.*taskd\[compression\]"):
        compression.packed(b"x", name)


@pytest.mark.parametrize("name", compression.NAMES)
def test_what_we_compress_is_read_by_kombu(name):
    body, kind = compression.packed(b"text" * 100, name)

    assert decompress(body, kind) == b"text" * 100
    assert len(body) < 100


def test_an_unknown_compression_is_named():
    with pytest.raises(SerializationError, match='"rot13" is not known'):
        read(b"x", "application/json", "rot13")


@pytest.mark.parametrize("name", compression.NAMES)
@pytest.mark.parametrize("harm", [lambda data: data[:-3], lambda data: b"x" + data])
def test_a_damaged_body_is_refused(name, harm):
    data, content_type, header = packed("json", name)

    with pytest.raises(SerializationError):
        read(harm(data), content_type, header)


@pytest.mark.parametrize("name", compression.NAMES)
def test_a_body_that_grows_without_measure_is_refused(monkeypatch, name):
    monkeypatch.setattr(compression, "MOST_BYTES", 1000)

    body, kind = compression.packed(b" " * 100_000, name)

    with pytest.raises(SerializationError, match=r"larger than|usage limit"):
        read(body, "application/json", kind)


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
def test_bytes_that_are_not_of_their_type_are_refused(content_type, body):
    with pytest.raises(SerializationError):
        read(body, content_type)


def test_a_pickle_that_cannot_be_read_is_refused():
    with pytest.raises(SerializationError, match="cannot be read"):
        read(b"nonsense", "application/x-python-serialize", accepted=frozenset(Serializer))
