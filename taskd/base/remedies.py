"""The remedies for errors of servers: by words that the server, the system or a library says.  Pure."""

from __future__ import annotations

# The first that fits: what tells more stands before.
_REMEDIES: tuple[tuple[str, str], ...] = (
    # RabbitMQ
    ("ACCESS_REFUSED - Login", "check the user and password of the broker's URL"),
    (
        "ACCESS_REFUSED",
        "give the user its rights: rabbitmqctl set_permissions -p VHOST USER '.*' '.*' '.*'",
    ),
    (
        "NOT_ALLOWED",
        "check the virtual host at the end of the URL, or make it: rabbitmqctl add_vhost VHOST",
    ),
    (
        "inequivalent arg",
        "the queue was made otherwise: set [amqp] queue_type and max_priority as it was, or delete it",
    ),
    (
        "delivery acknowledgement on channel",
        "a task runs longer than the server waits for its end: raise consumer_timeout of RabbitMQ",
    ),
    ("RESOURCE_LOCKED", "another connection has the queue for itself alone; end that, or name another"),
    ("CONNECTION_FORCED", "the server or its operator has ended the connection"),
    # Redis
    ("DB index is out of range", "the number at the end of the URL is more than the server has databases"),
    ("MISCONF", "the server cannot save to its disk and takes nothing: see its log, and its free space"),
    ("max number of clients", "raise maxclients of the server, or let fewer processes connect"),
    ("WRONGTYPE", "the key is another program's: set [redis] key_prefix, or another database"),
    ("MOVED ", "this is a Redis Cluster; taskd needs one server, or one behind Sentinels"),
    ("CROSSSLOT", "this is a Redis Cluster; taskd needs one server, or one behind Sentinels"),
    # The way there
    ("Connection refused", "nobody listens there: is the server up, and the port right?"),
    ("No such file or directory", "is the server up, and does it make its socket at this path?"),
    ("Name or service not known", "check the host of the URL"),
    ("No address associated", "check the host of the URL"),
    ("name resolution", "check the host of the URL, and the resolver of this machine"),
    ("No route to host", "check the host of the URL, and what filters between"),
    ("CERTIFICATE_VERIFY_FAILED", "name the authority of its certificate: ?ssl_ca_certs=FILE in the URL"),
    (
        "WRONG_VERSION_NUMBER",
        "does this port speak TLS? rediss:// and amqps:// do, redis:// and amqp:// do not",
    ),
    ("timed out", "the server did not answer in time: is it overloaded, or is something filtered between?"),
)


def with_remedy(said: str) -> str:
    """Return what was said about a server with what helps, where that is known."""
    remedy = next((remedy for words, remedy in _REMEDIES if words in said), "")
    return f"{said.rstrip('.')}; {remedy}" if remedy else said
