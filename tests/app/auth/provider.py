"""An OpenID Connect provider: real keys, real tokens, served on loopback; and a load balancer's keys."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

AUDIENCE = "dicomweb"


def _rsa_key() -> Any:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


MAKERS = {
    "RS256": _rsa_key,
    "PS256": _rsa_key,
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@dataclass
class Provider:
    """What it signs with, and what it publishes."""

    issuer: str = ""
    documents: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, tuple[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    hangs: bool = False

    def add_key(self, key_id: str, algorithm: str = "RS256") -> None:
        """A new key, published as JWKS and as a PEM file."""
        self.keys[key_id] = (algorithm, MAKERS[algorithm]())
        self.publish()

    def publish(self) -> None:
        """The documents of the keys that are there now."""
        self.documents = {
            "/.well-known/openid-configuration": {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks"},
            "/jwks": {"keys": [self._jwk(key_id) for key_id in self.keys]},
        }
        for key_id, (_, key) in self.keys.items():
            pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            self.documents[f"/{key_id}"] = pem

    def _jwk(self, key_id: str) -> dict[str, Any]:
        name, key = self.keys[key_id]
        described = jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True)
        return {**described, "kid": key_id, "alg": name, "use": "sig"}

    def token(self, key_id: str = "first", *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token for an hour; a claim of None is left out."""
        algorithm, key = self.keys[key_id]
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": AUDIENCE, "sub": "u1", "exp": now + 3600, "iat": now}
        payload = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        return jwt.encode(payload, key, algorithm, headers={"kid": key_id, **(headers or {})})


@contextmanager
def provided() -> Iterator[Provider]:
    """A provider that has one RSA key named `first`."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.asked.append(self.path)
            while provider.hangs:
                time.sleep(0.02)
            document = provider.documents.get(self.path)
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            with suppress(OSError):  # who has given up meanwhile
                self.send_response(404 if document is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    provider.add_key("first")
    yield provider
    provider.hangs = False
    server.shutdown()
    thread.join()
    server.server_close()
