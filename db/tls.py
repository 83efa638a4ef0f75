"""TLS to the metadata index: its mode, the trusted certificates, and the arguments for each driver."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from db import rds
from runtime.hosts import is_loopback

VERIFY, REQUIRE, OFF = "verify", "require", "off"

_NOT_OF_THE_URL = dict.fromkeys(("ssl_ca", "ssl_cert", "ssl_key", "ssl_verify_cert", "ssl_verify_identity"))
"""Any of these would have PyMySQL make a context of its own."""

_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
"""The certificates of the system on Debian and Amazon Linux; libpq takes one file."""


@dataclass(frozen=True)
class Tls:
    """`mode` is VERIFY (encrypted, certificate and host name verified), REQUIRE (encrypted, to whomever) or OFF.

    None is VERIFY for every host but this machine, to which the driver speaks as it likes. `ca` is a file with the
    certificates of those who may sign, in PEM; None for those that the system trusts, or of RDS for its hosts.
    """

    mode: str | None = None
    ca: Path | None = None

    def check(self) -> None:
        """Raise ValueError if the certificates cannot be read."""
        if not self.ca:
            return
        try:
            self._context(self.ca)  # it reads the file
        except OSError as error:  # ssl's own is one
            reason = "holds no certificates in PEM" if isinstance(error, ssl.SSLError) else error.strerror
            raise ValueError(f"{self.ca}: {reason}") from error

    def mysql(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of PyMySQL in place of those of the URL, which are given; none for a Unix socket."""
        match self._mode_for(arguments):
            case None:
                return {}
            case "off":
                return {"ssl": None, "ssl_disabled": True}
            case mode:
                context = self._context(self._authorities(arguments)) if mode == VERIFY else _unverified()
                return {**_NOT_OF_THE_URL, "ssl": context, "ssl_disabled": False}

    def postgresql(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of libpq in place of those of the URL, which are given; none for a Unix socket."""
        match self._mode_for(arguments):
            case None:
                return {}
            case "off":
                return {"sslmode": "disable"}
            case "require":
                return {"sslmode": "require"}
            case _:
                return {"sslmode": "verify-full", "sslrootcert": str(self._authorities(arguments) or _bundle())}

    def _mode_for(self, arguments: Mapping[str, Any]) -> str | None:
        if "unix_socket" in arguments:
            return None
        if self.mode is None and _is_this_machine(arguments):
            return None
        return self.mode or VERIFY

    def _authorities(self, arguments: Mapping[str, Any]) -> Path | None:
        """The file of those who may sign the certificate of the hosts; None for those that the system trusts."""
        hosts = [host for host in str(arguments.get("host") or "").split(",") if host]
        return self.ca or (rds.BUNDLE if hosts and all(map(rds.is_signed_by_rds, hosts)) else None)

    @cached_property
    def _contexts(self) -> dict[Path | None, ssl.SSLContext]:
        return {}

    def _context(self, authorities: Path | None) -> ssl.SSLContext:
        """The one context for these authorities; files are read once."""
        if (known := self._contexts.get(authorities)) is not None:
            return known
        context = ssl.create_default_context(cafile=authorities)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # authorities of databases sign without what it asks for
        return self._contexts.setdefault(authorities, context)


def _is_this_machine(arguments: Mapping[str, Any]) -> bool:
    """Whether the arguments of a driver name hosts, and only this machine. Without a name, files or variables count."""
    hosts = [host for name in ("host", "hostaddr") for host in str(arguments.get(name) or "").split(",") if host]
    return bool(hosts) and all(map(is_loopback, hosts))


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _bundle() -> str:
    ours = ssl.get_default_verify_paths().cafile
    return next((path for path in (ours, *_BUNDLES) if path and Path(path).exists()), "system")
