"""Lines of MONITOR are read as the server writes them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskd.storage.redis.monitor import pushed

_NAMED = {10: b"\\n", 13: b"\\r", 9: b"\\t", 7: b"\\a", 8: b"\\b", 92: b"\\\\", 34: b'\\"'}
KEYS = frozenset({b"mail", b"mail\x06\x163"})


def quoted(word: bytes) -> bytes:
    """Return a word as the server writes it (sdscatrepr)."""
    parts = [_NAMED.get(each) or (bytes((each,)) if 32 <= each < 127 else b"\\x%02x" % each) for each in word]
    return b'"' + b"".join(parts) + b'"'


def line(*words: bytes, client: bytes = b"0 127.0.0.1:60866") -> bytes:
    return b"1339518083.107412 [" + client + b"] " + b" ".join(map(quoted, words))


@given(values=st.lists(st.binary(max_size=40), min_size=1, max_size=3), key=st.sampled_from(sorted(KEYS)))
def test_whatever_is_pushed_is_read_as_it_was(values: list[bytes], key: bytes) -> None:
    assert pushed(line(b"LPUSH", key, *values), 0, KEYS) == (key, values)


def test_the_case_and_the_client_do_not_matter() -> None:
    assert pushed(line(b"rpush", b"mail", b"x", client=b"0 lua"), 0, KEYS) == (b"mail", [b"x"])
    assert pushed(line(b"LPUSH", b"mail", b"x", client=b"7 unix:/run/r.sock"), 7, KEYS) == (b"mail", [b"x"])


def test_other_lines_are_passed_over() -> None:
    assert pushed(line(b"LPUSH", b"other", b"x"), 0, KEYS) is None
    assert pushed(line(b"LPUSH", b"mail", b"x", client=b"1 127.0.0.1:1"), 0, KEYS) is None
    assert pushed(line(b"BRPOP", b"mail", b"1"), 0, KEYS) is None
    assert pushed(line(b"SET", b"mail", b'] "LPUSH" "mail" "x"'), 0, KEYS) is None
    assert pushed(b"OK", 0, KEYS) is None


@given(st.binary(max_size=60))
def test_no_line_is_too_odd(text: bytes) -> None:
    pushed(text, 0, KEYS)
    pushed(b'1.1 [0 x] "LPUSH" "mail" ' + text, 0, KEYS)
