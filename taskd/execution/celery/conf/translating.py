"""From values of Celery's settings to keys of taskd.toml with their values.  Pure.

Each translator gets the value of its setting and all settings; ``worker.KEY`` is a key of a worker's table.
A value that cannot be told in the file becomes nothing: ``findings`` has the word for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from urllib.parse import quote, urlencode

from taskd.base.schemes import SCHEMES, scheme_of
from taskd.config.built_in import BROKERS, MEMORY, POOLS, REDIS, RESULTS, SQLITE
from taskd.config.kinds import BrokerCan

Keys = Mapping[str, object]
Settings = Mapping[str, object]

#: Celery's broker where nothing names one.
DEFAULT_BROKER = "amqp://localhost:5672//"
_OTHER_NAMES: Mapping[str, str] = {
    "py-amqp": "pyamqp",
    "librabbitmq": "amqp",
    "sqlalchemy": "sqla",
    "azure": "azurestoragequeues",
}
_POOL_NAMES: Mapping[str, str] = {"processes": "prefork"}
_CONTENT = {"application/json": "json", "application/x-msgpack": "msgpack", "application/x-yaml": "yaml",
            "application/x-python-serialize": "pickle"}  # fmt: skip
_CONTENT_NAMES = ("json", "msgpack", "yaml", "pickle")
_BYTES_PER_KIB = 1024


def nothing(_value: object, _settings: Settings) -> Keys:
    """Return no key: another setting's translator looks at this one."""
    return {}


def broker(_value: object, settings: Settings) -> Keys:
    """Return the address that the worker takes messages from, with its parameters of TLS."""
    address = broker_address(settings)
    return {"broker": address} if address else {}


def broker_address(settings: Settings) -> str:
    """Return the broker as taskd writes it; empty for one that taskd does not have."""
    return address_of(broker_url(settings), settings.get("broker_use_ssl"))


def broker_url(settings: Settings) -> str:
    """Return the broker as the app names it, several addresses with semicolons between them."""
    url = settings.get("broker_read_url") or settings.get("broker_url")
    if not url and settings.get("broker_host"):
        return _from_parts(settings)
    if isinstance(url, (list, tuple)):
        return ";".join(map(str, url))
    return str(url or DEFAULT_BROKER)


def address_of(url: str, use_ssl: object) -> str:
    """Return Celery's address of a broker as taskd writes it; empty for a scheme that taskd does not have."""
    parts = [_one_address(each, use_ssl) for each in url.split(";") if each]
    return ";".join(parts) if parts and all(parts) else ""


def _one_address(url: str, use_ssl: object) -> str:
    scheme, colon, rest = url.partition("://")
    first, plus, second = scheme.partition("+")
    known = _OTHER_NAMES.get(first, first) + plus + second
    if known not in BROKERS and f"kombu+{known}" in BROKERS:
        known = f"kombu+{known}"
    if not colon or BROKERS.get(known, MEMORY) in (MEMORY, SQLITE):
        return ""
    encrypted = _encrypted(known)
    if use_ssl and encrypted:
        known = encrypted
        asked = dict(_tls_parameters(use_ssl))
        rest += ("&" if "?" in rest else "?") + urlencode(asked, safe="/") if asked else ""
    return f"{known}://{rest}"


def _encrypted(scheme: str) -> str:
    """Return the scheme by which the same servers are reached over TLS; empty where there is none."""
    family = scheme_of(f"{scheme}://").family
    found = [name for name, each in SCHEMES.items() if each.encrypted and each.family == family]
    return found[0] if family and found else ""


def _tls_parameters(use_ssl: object) -> Iterator[tuple[str, str]]:
    for name, value in use_ssl.items() if isinstance(use_ssl, Mapping) else ():
        known = f"ssl_{str(name).removeprefix('ssl_')}"
        if known == "ssl_cert_reqs":
            # An enumeration of the standard library, or the name of its member.
            word = str(getattr(value, "name", value)).lower().removeprefix("cert_")
            if word in ("none", "optional", "required"):
                yield known, word
        elif known in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile") and value:
            yield known, str(value)
        elif known == "ssl_check_hostname" and value is False:
            yield known, "false"


def _from_parts(settings: Settings) -> str:
    def part(name: str) -> str:
        return quote(str(settings.get(f"broker_{name}") or ""), safe="")

    who = f"{part('user')}:{part('password')}@" if part("user") else ""
    port = f":{part('port')}" if part("port") else ""
    transport = str(settings.get("broker_transport") or "amqp")
    return f"{transport}://{who}{settings['broker_host']}{port}/{part('vhost')}"


def transport_options(value: object, settings: Settings) -> Keys:
    """Return what the options of a transport become, which depends on the broker."""
    if not isinstance(value, Mapping):
        return {}
    address = broker_address(settings)
    if address.startswith("kombu+"):
        return {"amqp.transport_options": dict(value)} if value else {}
    if not is_redis(address):
        return {}
    names = {
        "global_keyprefix": "redis.key_prefix",
        "visibility_timeout": "redis.visibility_timeout",
        "master_name": "redis.master",
        "socket_timeout": "redis.timeout",
    }
    found = {names[name]: each for name, each in value.items() if name in names and each}
    return {key: _number(each) if key.endswith("timeout") else str(each) for key, each in found.items()}


def connection_timeout(value: object, settings: Settings) -> Keys:
    """Return the timeout of the broker's table."""
    table = "redis" if is_redis(broker_address(settings)) else "amqp"
    return {f"{table}.timeout": _number(value)} if value else {}


def is_redis(address: str) -> bool:
    """Return whether an address is of Redis, in one of its schemes."""
    return BROKERS.get(address.partition("://")[0]) is REDIS


def results(value: object, settings: Settings) -> Keys:
    """Return where results are, as far as the worker has a part in it."""
    url = str(value or "")
    scheme, colon, _ = url.partition("://")
    if is_redis(url):
        url = url if colon else _redis_from_parts(settings)
        return {"results": address_of(url, settings.get("redis_backend_use_ssl"))}
    if scheme in RESULTS and BrokerCan.REPLY in RESULTS[scheme].needs:
        return {"results": f"{scheme}://"}
    return {"results": "null://"}


def _redis_from_parts(settings: Settings) -> str:
    def part(name: str) -> str:
        return quote(str(settings.get(f"redis_{name}") or ""), safe="")

    who = f"{part('username')}:{part('password')}@" if part("password") else ""
    return f"redis://{who}{part('host') or 'localhost'}:{part('port') or '6379'}/{part('db') or '0'}"


def result_expires(value: object, _settings: Settings) -> Keys:
    """Return how long results are kept, in seconds; 0 keeps them."""
    return {"result_expires": _number(value)}


def accept_content(value: object, _settings: Settings) -> Keys:
    """Return the content types that taskd reads too, in its order; others are the app's alone."""
    given = {_CONTENT.get(str(each), str(each)) for each in _each_of(value)}
    known = [name for name in _CONTENT_NAMES if name in given]
    return {"accept_content": known} if known and known != ["json"] else {}


def queues(_value: object, settings: Settings) -> Keys:
    """Return the queues of a worker that is started without ``-Q``."""
    given = _each_of(settings.get("task_queues"))
    # A queue with an alias is a broadcast, which taskd refuses.
    named = [str(getattr(each, "name", each)) for each in given if not getattr(each, "alias", None)]
    return {"worker.queues": named or [str(settings.get("task_default_queue") or "celery")]}


def queue_type(value: object, _settings: Settings) -> Keys:
    """Return the type of queues that taskd makes."""
    return {"amqp.queue_type": value} if value in ("classic", "quorum") else {}


def max_priority(value: object, _settings: Settings) -> Keys:
    """Return the highest priority of queues that taskd makes."""
    return {"amqp.max_priority": int(value)} if isinstance(value, int) and 0 < value <= 255 else {}


def concurrency(value: object, _settings: Settings) -> Keys:
    """Return the number of slots; Celery's ``auto`` is 0, one for each processor."""
    number = _whole(value)
    return {"worker.concurrency": min(number, 10_000)} if number else {}


def pool(value: object, _settings: Settings) -> Keys:
    """Return the pool; nothing for a class of another package."""
    known = _POOL_NAMES.get(str(value), str(value))
    return {"worker.pool": known} if known in POOLS else {}


def start_method(value: object, _settings: Settings) -> Keys:
    """Return what has each child import the code by itself, as it does where children are not forked."""
    return {} if value in (None, "fork") else {"worker.preload": "false"}


def prefetch(value: object, settings: Settings) -> Keys:
    """Return how many messages wait in the worker, beside those that run.

    Celery's number counts what is not acknowledged: with late acks the running ones too.
    """
    multiplier = _whole(value)
    slots = _whole(settings.get("worker_concurrency"))
    if multiplier is None or multiplier < 1:
        return {}
    if multiplier == 1:
        return {"worker.prefetch": 0}
    return {"worker.prefetch": (multiplier - 1) * slots} if slots else {}


def disable_prefetch(value: object, _settings: Settings) -> Keys:
    """Return a prefetch of none."""
    return {"worker.prefetch": 0} if value else {}


def memory(value: object, _settings: Settings) -> Keys:
    """Return the limit of a child, which Celery counts in KiB, in bytes."""
    number = _whole(value)
    return {"worker.max_memory_per_child": number * _BYTES_PER_KIB} if number else {}


def remote_control(value: object, _settings: Settings) -> Keys:
    """Return whether workers listen to remote control."""
    return {} if value else {"security.remote_control": "off"}


def beat_schedule(value: object, _settings: Settings) -> Keys:
    """Return what has beat run for entries that the file does not have."""
    return {"beat.run": "always"} if value else {}


def count(key: str) -> Callable[[object, Settings], Keys]:
    """Return the translator of a whole number."""
    return lambda value, _settings: {key: number} if (number := _whole(value)) else {}


def seconds(key: str) -> Callable[[object, Settings], Keys]:
    """Return the translator of a duration."""
    return lambda value, _settings: {key: _number(value)} if value else {}


def flag(key: str) -> Callable[[object, Settings], Keys]:
    """Return the translator of a switch."""
    return lambda value, _settings: {key: bool(value)}


def _each_of(value: object) -> Sequence[object]:
    """Return the members of what Celery takes as one thing or as several."""
    if isinstance(value, Mapping):
        return list(value)
    if isinstance(value, str):
        return [each for each in re.split(r"[,\s]+", value) if each]
    return list(value) if isinstance(value, Iterable) else []


def _number(value: object) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    try:
        return max(0.0, float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _whole(value: object) -> int | None:
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, OverflowError):
        return None
