"""RabbitMQ over TLS: certificates are checked, and much at once is read to its end."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest

from taskd.base.errors import BrokerError
from taskd.brokers.amqp.broker import AmqpBroker
from taskd.brokers.amqp.server import AmqpServer
from taskd.config.stores import AmqpConfig
from taskd.protocol.delivery import Ack
from tests.contract.brokers import is_readable, message
from tests.services import RabbitServer, free_port, program

SETTINGS = """
listeners.ssl.default = 127.0.0.1:{port}
ssl_options.cacertfile = {certificate}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_none
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a certificate of an authority of our own, for the name localhost alone."""
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key.pem", directory / "ca.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    made = ("-keyout", str(key), "-out", str(certificate), "-days", "2", "-nodes", "-newkey", "rsa:2048")
    subprocess.run([program("openssl"), "req", "-x509", *made, *subject], check=True, capture_output=True)
    port = free_port()
    server = RabbitServer(SETTINGS.format(port=port, certificate=certificate, key=key))
    yield f"amqps://guest:guest@localhost:{port}//?ssl_ca_certs={certificate}"
    server.end()


def opened(url: str) -> AmqpBroker:
    return AmqpBroker(AmqpServer(url, AmqpConfig()))


@pytest.mark.slow
def test_messages_of_all_sizes_come_over_tls(url: str) -> None:
    with closing(opened(url)) as broker:
        intake = broker.intake("a@host", ["mail"])
        sent = [str(number) * (50_000 if number % 100 == 0 else 10) for number in range(1000)]
        broker.publisher().publish([message(text) for text in sent])

        found: list[str] = []
        while len(found) < 1000:
            claimed = intake.claim(200)
            found += [delivery.body.decode() for delivery in claimed]
            assert intake.settle([Ack(delivery.tag) for delivery in claimed]) == []
            if not claimed:
                assert is_readable(intake)
                intake.clear_wakeups()

    assert found == sent


@pytest.mark.slow
def test_a_certificate_of_another_name_or_of_an_unknown_authority_is_refused(url: str) -> None:
    other_name, no_authority = url.replace("localhost", "127.0.0.1"), url.partition("?")[0]

    for wrong in (other_name, no_authority):
        with closing(opened(wrong)) as broker, pytest.raises(BrokerError, match="CERTIFICATE_VERIFY_FAILED"):
            broker.intake("a@host", ["mail"])
    for lenient in (f"{other_name}&ssl_check_hostname=false", f"{no_authority}?ssl_cert_reqs=none"):
        with closing(opened(lenient)) as broker:
            broker.intake("a@host", ["mail"])
