"""Exceptions over the wire, the ill-behaved ones too."""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any, NoReturn

import pytest

from taskd.base.errors import ProtocolError, SoftTimeLimitExceeded
from taskd.protocol.exceptions import (
    NotRegistered,
    RemoteError,
    RemoteTraceback,
    TimeLimitExceeded,
    UnreadableError,
    WorkerLostError,
    decode_exception,
    encode_exception,
    format_traceback,
    one_line,
    readable,
    register_exception,
)


class Ordinary(Exception):
    pass


class OddConstructor(Exception):
    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(f"{code}: {detail}")


class KnowsItsArguments(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.text)


class Hostile(Exception):
    def __str__(self) -> NoReturn:
        raise RuntimeError("str")

    def __repr__(self) -> NoReturn:
        raise RuntimeError("repr")

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("reduce")


class Sealed(Hostile):
    @property
    def args(self) -> NoReturn:  # type: ignore[override]  # as no library should
        raise RuntimeError("args")


class Closed(Exception):
    def __getattribute__(self, name: str) -> NoReturn:
        raise RuntimeError("closed")


class Rude(Exception):
    def __repr__(self) -> NoReturn:
        raise SystemExit

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self,)


class NoText(str):
    def __getitem__(self, key: object) -> NoReturn:
        raise RuntimeError("getitem")


class Wordy(Exception):
    def __str__(self) -> str:
        return NoText("words")


class NotAnException:
    called = False

    def __init__(self, *args: object) -> None:
        NotAnException.called = True


class _Outer:
    class Inner(Exception):
        pass


def _cross(error: BaseException) -> Exception:
    return decode_exception(json.loads(json.dumps(encode_exception(error))))


@pytest.mark.parametrize(
    "error", [ValueError("boom", 3), Ordinary("x"), KeyError(None), Ordinary(), _Outer.Inner(1)]
)
def test_an_exception_comes_back_as_the_same_type_with_its_arguments(error: Any) -> None:
    back = _cross(error)

    assert type(back) is type(error)
    assert back.args == error.args


def test_it_is_written_as_celery_writes_it() -> None:
    assert encode_exception(ValueError("boom", 3)) == {
        "exc_type": "ValueError",
        "exc_message": ["boom", 3],
        "exc_module": "builtins",
    }


def test_an_os_error_keeps_its_file_name() -> None:
    back = _cross(FileNotFoundError(2, "No such file", "/x/y"))

    assert type(back) is FileNotFoundError
    assert (back.errno, back.filename) == (2, "/x/y")


def test_an_exception_that_knows_its_arguments_is_built_with_them() -> None:
    back = _cross(KnowsItsArguments(7, "seven"))

    assert type(back) is KnowsItsArguments
    assert (back.code, back.text, str(back)) == (7, "seven", "7: seven")


def test_an_odd_constructor_is_survived() -> None:
    back = _cross(OddConstructor(7, detail="seven"))

    assert type(back) is OddConstructor
    assert str(back) == "7: seven"


@pytest.mark.parametrize("kind", [Hostile, Sealed, Rude, Wordy])
def test_a_hostile_exception_is_survived(kind: Any) -> None:
    try:
        raise kind(object())
    except kind as caught:
        error = caught

    back = _cross(error)

    assert isinstance(back, kind)
    assert type(back).__name__ == kind.__name__
    assert isinstance(str(back), str)
    assert kind.__name__ in one_line(error)
    assert kind.__name__ in format_traceback(error)


def test_an_exception_that_lets_nobody_look_is_stood_for_by_one_with_its_name_and_traceback() -> None:
    try:
        raise Closed
    except Closed as caught:
        error = readable(caught)

    assert type(error) is UnreadableError
    assert "Closed" in str(error)
    assert "RuntimeError" in str(error)
    assert "raise Closed" in "".join(traceback.format_exception(error))


def test_an_exception_that_can_be_read_is_itself() -> None:
    error = ValueError("plain")

    assert readable(error) is error


def test_an_unknown_type_becomes_a_remote_error_of_that_name() -> None:
    back = decode_exception(
        {"exc_type": "Gone", "exc_message": ["x"], "exc_module": "no_such_package.errors"}
    )

    assert isinstance(back, RemoteError)
    assert (type(back).__name__, type(back).__module__, back.args) == (
        "Gone",
        "no_such_package.errors",
        ("x",),
    )


def test_what_is_no_exception_class_is_not_called() -> None:
    record = {"exc_type": "NotAnException", "exc_message": ["x"], "exc_module": __name__}

    for name in ("NotAnException", "json.dumps", "sys.exit", "_cross"):
        assert isinstance(decode_exception({**record, "exc_type": name}), RemoteError)
    assert not NotAnException.called


def test_a_module_of_a_package_that_is_not_loaded_is_not_imported() -> None:
    assert "antigravity" not in sys.modules

    decode_exception({"exc_type": "Error", "exc_message": [], "exc_module": "antigravity"})

    assert "antigravity" not in sys.modules


def test_a_module_below_a_loaded_package_is_not_imported_either() -> None:
    sys.modules.pop("xml.dom", None)
    import xml  # noqa: F401 - loads the package

    back = decode_exception({"exc_type": "NotFoundErr", "exc_message": ["x"], "exc_module": "xml.dom"})

    assert isinstance(back, RemoteError)
    assert "xml.dom" not in sys.modules


class HttpError(Exception):
    """As those of Starlette: it has keyword-only arguments and says nothing to BaseException."""

    def __init__(self, *, status_code: Any, detail: Any, body: Any = None) -> None:
        self.status_code, self.detail, self.body = status_code, detail, body

    def __str__(self) -> str:
        return f"{self.status_code}: {self.detail}"


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, code: Any) -> None:
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


class Falsy(Exception):
    def __bool__(self) -> bool:
        return False


class Counting(Exception):
    built = 0

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        Counting.built += 1


class Registered(Counting):
    pass


class Quitting(Exception):
    def __new__(cls, *args: object) -> NoReturn:
        raise SystemExit

    def __init__(self, *args: object) -> None:
        raise SystemExit


class ReadError(OSError):
    def __init__(self, path: str, *, at: int) -> None:
        super().__init__(5, "cannot be read", path)
        self.at = at


def test_required_and_keyword_only_arguments_come_back_as_attributes() -> None:
    error = HttpError(status_code=404, detail="x", body=object())
    error.add_note("a note") if hasattr(error, "add_note") else None

    back = _cross(error)

    assert type(back) is HttpError
    assert (back.status_code, back.detail, str(back), back.args) == (404, "x", "404: x", error.args)
    assert getattr(back, "__notes__", None) == getattr(error, "__notes__", None)


def test_what_did_not_travel_does_not_make_the_text_raise() -> None:
    back = _cross(Slotted(7))

    assert isinstance(back, Slotted)
    assert str(back) == "7"


def test_no_constructor_is_called_unless_its_class_is_registered() -> None:
    before = Counting.built
    record = {"exc_type": "Counting", "exc_message": ["x"], "exc_module": __name__}

    assert decode_exception(record).args == ("x",)
    assert Counting.built == before
    register_exception(Registered)
    assert type(decode_exception({**record, "exc_type": "Registered"})) is Registered
    assert Counting.built == before + 1


def test_nothing_escapes_from_a_class_that_would_end_the_reader() -> None:
    record = {"exc_type": "Quitting", "exc_message": ["x"], "exc_module": __name__}

    assert type(decode_exception(record)) is Quitting
    register_exception(Quitting)
    assert isinstance(decode_exception(record), RemoteError)


def test_an_os_error_of_ones_own_keeps_what_it_knows() -> None:
    back = _cross(ReadError("/x/y", at=7))

    assert isinstance(back, ReadError)
    assert (type(back), back.at, back.errno, back.filename) == (ReadError, 7, 5, "/x/y")
    assert "cannot be read" in str(back)


def test_an_attribute_of_any_size_and_kind_is_survived() -> None:
    error: Any = Ordinary("x")
    error.large, error.odd, error.itself = "y" * 10**6, {1, 2}, error

    back: Any = _cross(error)

    assert len(back.large) <= 1024
    assert back.odd == "{1, 2}"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_would_end_the_reader_becomes_a_remote_error(error: Any) -> None:
    back = _cross(error)

    assert isinstance(back, RemoteError)
    assert type(back).__name__ == type(error).__name__


@pytest.mark.parametrize(
    ("error", "module"),
    [
        (SoftTimeLimitExceeded("soft"), "billiard.exceptions"),
        (WorkerLostError("lost"), "billiard.exceptions"),
        (NotRegistered("shop.add"), "celery.exceptions"),
    ],
)
def test_our_own_ends_have_celerys_names_on_the_wire_and_ours_here(error: Any, module: str) -> None:
    encoded = encode_exception(error)

    assert (encoded["exc_module"], encoded["exc_type"]) == (module, type(error).__name__)
    assert type(decode_exception(encoded)) is type(error)


def test_the_traceback_in_the_worker_is_the_cause() -> None:
    back = decode_exception(encode_exception(ValueError("x")), "Traceback: line 7")

    assert isinstance(back.__cause__, RemoteTraceback)
    assert "Traceback: line 7" in str(back.__cause__)


def test_arguments_without_json_become_text() -> None:
    encoded = encode_exception(ValueError({1, 2}, "plain"))

    assert encoded["exc_message"] == ["{1, 2}", "plain"]


@pytest.mark.parametrize("record", [{}, {"exc_type": 5}, {"exc_type": "E", "exc_module": 5}])
def test_a_record_that_is_none_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        decode_exception(record)


@pytest.mark.parametrize("name", ["", "a b", "\ud800", "x\x00y", "__class__", "..", "1"])
def test_a_strange_type_name_is_survived(name: str) -> None:
    assert isinstance(
        decode_exception({"exc_type": name, "exc_message": "x", "exc_module": "builtins"}), Exception
    )


def test_what_celery_writes_as_a_bare_argument_is_read_as_a_sentence() -> None:
    limit = decode_exception(encode_exception(TimeLimitExceeded(30.0)))
    name = decode_exception(encode_exception(NotRegistered("shop.add")))

    assert limit.args == (30.0,)
    assert str(limit) == "the task was ended by its time limit of 30 s"
    assert name.args == ("shop.add",)
    assert str(name).startswith('the worker knows no task "shop.add"')
    assert str(NotRegistered("an old sentence")) == "an old sentence"


def test_half_a_character_of_an_exception_is_spelt_out() -> None:
    error = ValueError("half: \udcff")

    assert one_line(error) == "ValueError: half: \\udcff"
    assert "ValueError: half: \\udcff" in format_traceback(error)
