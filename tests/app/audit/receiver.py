"""A syslog receiver: TLS with a certificate of its own (RFC 5425), or UDP (RFC 5426)."""

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import IO

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.servers import free_port


@dataclass(frozen=True)
class Certificate:
    """A certificate that signs itself, with its key: whoever trusts it trusts who shows it."""

    certificate: Path
    key: Path


def new_certificate(folder: Path, name: str) -> Certificate:
    """For 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
    paths.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    paths.key.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return paths


class Receiver:
    """Takes connections one after the other and keeps the messages; can go and come back on the same port."""

    def __init__(self, own: Certificate, client: Certificate | None = None) -> None:
        """With `client`, only who shows that certificate is heard."""
        self.port = free_port()
        self.received: list[bytes] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(own.certificate, own.key)
        if client:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(client.certificate)
        self.start()

    def start(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        threads = []
        with suppress(OSError):
            while True:
                plain, _ = self._listening.accept()
                self._connections.append(plain)
                threads.append(threading.Thread(target=self._read, args=(plain,)))
                threads[-1].start()
        for thread in threads:
            thread.join()

    def _read(self, plain: socket.socket) -> None:
        with plain, suppress(OSError, ValueError), self._context.wrap_socket(plain, server_side=True) as connection:
            self._connections.append(connection)
            with connection.makefile("rb") as stream:
                while (length := _length(stream)) is not None:
                    self.received.append(stream.read(length))


def _length(stream: IO[bytes]) -> int | None:
    """The length before a message, digits and a blank; None at the end."""
    digits = b""
    while one := stream.read(1):
        if one == b" ":
            return int(digits)
        digits += one
    return None


@contextmanager
def receiving(own: Certificate, client: Certificate | None = None) -> Iterator[Receiver]:
    """A receiver that is stopped at the end."""
    receiver = Receiver(own, client)
    yield receiver
    receiver.stop()
