"""Files of variables, one ``NAME=value`` a line, like systemd's EnvironmentFile=.

Blank lines and lines that begin with ``#`` or ``;`` are passed over; a value may stand in single or
double quotes, which are taken off.  Nothing is expanded: what stands there is the value.
"""

from __future__ import annotations

import re

from taskd.base.errors import ConfigError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
#: Nobody's environment is larger, and a wrong path such as /dev/zero must not fill the memory.
MAX_BYTES = 1 << 20


def read_env_file(path: str) -> dict[str, str]:
    """Return the variables of a file.

    Raises: ``ConfigError`` that names the file and the line; a value is never quoted in it, because
    such files hold secrets.  ``OSError`` when the file cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: the file is larger than {MAX_BYTES} bytes")
    try:
        return parse_env(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: the file is not UTF-8 text") from error
    except ConfigError as error:
        raise ConfigError(f"{path}:{error}") from None


def parse_env(text: str) -> dict[str, str]:
    """Return the variables in a text.

    Raises: ``ConfigError`` that begins with the number of the line.
    """
    result: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        name, separator, value = stripped.partition("=")
        name, value = name.strip(), value.strip()
        if not separator or not _NAME.fullmatch(name):
            raise ConfigError(f"{number}: the line is not NAME=value")
        if "\x00" in value:
            raise ConfigError(f"{number}: a NUL character is in the value")
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        result[name] = value
    return result
