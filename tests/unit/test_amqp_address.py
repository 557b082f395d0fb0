"""What the URL and the table [amqp] mean for connections and queues."""

from __future__ import annotations

import ssl

import pytest

from taskd.brokers.amqp.server import AmqpServer
from taskd.brokers.kombu.server import Server
from taskd.config.stores import AmqpConfig


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {"server_hostname": "mq.example"}),
        ("?ssl_ca_certs=/ca.pem", {"server_hostname": "mq.example", "ca_certs": "/ca.pem"}),
        (
            "?ssl_certfile=/a.pem&ssl_keyfile=/b.pem",
            {"server_hostname": "mq.example", "certfile": "/a.pem", "keyfile": "/b.pem"},
        ),
        ("?ssl_check_hostname=false", {}),
        ("?ssl_cert_reqs=none", {"cert_reqs": ssl.CERT_NONE}),
    ],
)
def test_tls_checks_the_name_of_the_server_unless_told_otherwise(
    query: str, options: dict[str, object]
) -> None:
    address = AmqpServer(f"amqps://mq.example/shop{query}", AmqpConfig())

    assert address.transport_options()["ssl"] == options
    assert address.kombu_url == "amqps://mq.example/shop"


def test_without_tls_there_are_no_options_of_it() -> None:
    assert "ssl" not in AmqpServer("amqp://mq.example/shop", AmqpConfig()).transport_options()


def test_other_words_of_a_url_are_kombus() -> None:
    assert Server("kombu+sqs://?a=b&ssl_x=y", AmqpConfig()).kombu_url == "sqs://?a=b&ssl_x=y"
    assert AmqpServer("amqp://host/?login_method=PLAIN", AmqpConfig()).kombu_url.endswith(
        "?login_method=PLAIN"
    )


def test_quorum_queues_are_made_without_a_highest_priority_which_they_refuse() -> None:
    config = AmqpConfig(queue_type="quorum", max_priority=9)

    assert AmqpServer("amqp://host/", config).queue_arguments() == {"x-queue-type": "quorum"}
