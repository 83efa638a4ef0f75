"""The destinations of audit messages: file, standard output, syslog over UDP or TLS."""

import errno
import os
import socket
import ssl
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

_SECONDS = 3.0  # for a connection, and for each message
_REFUSAL_SECONDS = 0.5
_PRIORITY = 10 * 8 + 5  # facility security/authorization, severity notice (RFC 5424 Section 6.2.1)
_APP_NAME = "ahi-dicomweb-proxy"
_MESSAGE_ID = "DICOM+RFC3881"  # PS3.15 Section A.6.2
_BOM = b"\xef\xbb\xbf"


class Destination(Protocol):
    """One destination, written to by one thread."""

    def write(self, message: bytes) -> None:
        """Write one message; OSError if that fails."""

    def reach(self) -> None:
        """Check that messages can be written, without writing one; OSError if not."""

    def close(self) -> None:
        """Close the file or connection; the next message opens it again."""


class FileDestination:
    """Lines at the end of a file. Other processes write to it as well, and a rotation may rename it at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._torn = False

    def write(self, message: bytes) -> None:
        """Write one line in one call, so that lines of several processes do not mix."""
        if self._file < 0 or self._moved():
            self.close()
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        line = b"\n" * self._torn + message + b"\n"
        written = os.write(self._file, line)
        self._torn = written < len(line)
        if self._torn:
            raise OSError("the disk of the audit file is full")

    def reach(self) -> None:
        """Check the file, or its folder if there is no file. It is not created: the caller may be another user."""
        try:
            os.close(os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))
        except FileNotFoundError:
            with tempfile.TemporaryFile(dir=self._path.parent):
                pass

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _moved(self) -> bool:
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            return True


class StandardOutput:
    """Lines on standard output, for a collector of the logs of containers."""

    def write(self, message: bytes) -> None:
        """Write one line."""
        rest = message + b"\n"
        while rest:
            rest = rest[os.write(1, rest) :]

    def reach(self) -> None:
        """Standard output needs no check."""

    def close(self) -> None:
        """Nothing is open."""


class SyslogUdp:
    """A datagram for each message (RFC 5426); the receiver confirms nothing."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)

    def write(self, message: bytes) -> None:
        """Send one datagram; OSError if the host is unknown, or the message longer than a datagram."""
        family, kind, *_, address = self._resolve()
        with socket.socket(family, kind) as sending:
            sending.sendto(syslog(message), address)

    def reach(self) -> None:
        """Check that the host name is known; UDP does not tell whether somebody listens."""
        self._resolve()

    def _resolve(self) -> Any:
        return socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)[0]

    def close(self) -> None:
        """Nothing is open."""


class SyslogTls:
    """One connection (RFC 5425): opened for the first message, and again after the receiver has closed it."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        self._address = (host, port)
        self._context = context
        self._connection: ssl.SSLSocket | None = None

    def write(self, message: bytes) -> None:
        """Send one message; if the connection fails, send it again over a new one."""
        text = syslog(message)
        frame = b"%d %b" % (len(text), text)
        if self._connection and not self._alive(self._connection):
            self.close()
        if self._connection:
            try:
                self._connection.sendall(frame)
            except OSError:
                self.close()
            else:
                return
        self._connection = self._connect()
        try:
            self._connection.sendall(frame)
        except OSError:
            self.close()
            raise

    def reach(self) -> None:
        """Check that the receiver answers, is trusted and accepts us. In TLS 1.3 it refuses after the handshake."""
        connection = self._connect()
        try:
            connection.settimeout(_REFUSAL_SECONDS)
            if not connection.recv(1):
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        except TimeoutError:
            pass  # it did not refuse
        finally:
            connection.close()

    def close(self) -> None:
        """Close the connection."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(self._address, timeout=_SECONDS)
        try:
            return self._context.wrap_socket(plain, server_hostname=self._address[0])
        except OSError:
            plain.close()
            raise

    @staticmethod
    def _alive(connection: ssl.SSLSocket) -> bool:
        """Whether the receiver has not closed the connection: messages sent after that would be lost silently."""
        connection.settimeout(0)
        try:
            return bool(connection.recv(1))
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        finally:
            connection.settimeout(_SECONDS)


def syslog(message: bytes) -> bytes:
    """The message with the header of syslog (RFC 5424 Section 6)."""
    time = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    header = f"<{_PRIORITY}>1 {time} {socket.gethostname()} {_APP_NAME} {os.getpid()} {_MESSAGE_ID} - "
    return header.encode() + _BOM + message
