"""An OpenID Connect provider: real keys, real tokens, served on loopback; and a load balancer's keys.

It also logs people in: the authorization code flow with PKCE, tokens that refresh once each, and the end of a login.
"""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

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
    client: tuple[str, str | None] = ("console", "s3cret/+")
    """The ID and the secret of the service."""
    user: dict[str, Any] = field(default_factory=lambda: {"sub": "u1"})
    """The claims of whom it has logged in."""
    refuses: bool = False
    """Whether it vouches for nobody any more."""
    broken: bool = False
    """Whether it answers with errors of its own when it is asked for tokens."""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    refresh_tokens: dict[str, bool] = field(default_factory=dict)
    """Those that it has given, and whether each can be used."""
    forged: dict[str, Any] = field(default_factory=dict)
    """Claims of ID tokens that are not as they should be."""

    def add_key(self, key_id: str, algorithm: str = "RS256") -> None:
        """A new key, published as JWKS and as a PEM file."""
        self.keys[key_id] = (algorithm, MAKERS[algorithm]())
        self.publish()

    def publish(self) -> None:
        """The documents of the keys that are there now."""
        self.documents = {
            "/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "jwks_uri": f"{self.issuer}/jwks",
                "authorization_endpoint": f"{self.issuer}/authorize?tenant=1",
                "token_endpoint": f"{self.issuer}/token",
                "end_session_endpoint": f"{self.issuer}/end",
            },
            "/jwks": {"keys": [self._jwk(key_id) for key_id in self.keys]},
        }
        for key_id, (_, key) in self.keys.items():
            pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            self.documents[f"/{key_id}"] = pem

    def authorize(self, query: str) -> str:
        """Where the browser of a user who is logged in is sent, for the query of the request."""
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        assert (asked["response_type"], asked["code_challenge_method"], asked["tenant"]) == ("code", "S256", "1")
        assert asked["client_id"] == self.client[0] and "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": self.issuer}
        return f"{asked['redirect_uri']}?{urlencode(answer)}"

    def give(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """The tokens for a code or a token that refreshes; None for a request that does not fit."""
        client_id, secret = self.client
        if secret is None:
            known = form.get("client_id") == client_id and not authorization
        else:
            pair = base64.b64decode(authorization.removeprefix("Basic ")).decode().split(":")
            known = [unquote(one) for one in pair] == [client_id, secret]
        if not known or self.refuses:
            return None
        if form["grant_type"] == "authorization_code":
            asked = self.codes.pop(form["code"], None)
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            if not asked or (asked["code_challenge"], asked["redirect_uri"]) != (challenge, form["redirect_uri"]):
                return None
            return self._issue(nonce=asked["nonce"])
        if not self.refresh_tokens.get(form["refresh_token"]):
            return None
        self.refresh_tokens[form["refresh_token"]] = False
        return self._issue()

    def _issue(self, **claims: Any) -> dict[str, Any]:
        refresh_token = secrets.token_urlsafe(40)
        self.refresh_tokens[refresh_token] = True
        id_token = self.token(**{"aud": self.client[0], **self.user, **claims, **self.forged})
        return {"access_token": "opaque", "token_type": "Bearer", "id_token": id_token, "refresh_token": refresh_token}

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
            if self.path.startswith("/authorize?"):
                self.send_response(303)
                self.send_header("Location", provider.authorize(urlsplit(self.path).query))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._answer(provider.documents.get(self.path))

        def do_POST(self) -> None:
            provider.asked.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            while provider.hangs:
                time.sleep(0.02)
            if provider.broken:
                return self._answer({"error": "server_error"}, 500)
            given = provider.give(form, self.headers.get("Authorization", ""))
            return self._answer(given or {"error": "invalid_grant"}, 200 if given else 400)

        def _answer(self, document: Any, status: int = 200) -> None:
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            with suppress(OSError):  # who has given up meanwhile
                self.send_response(404 if document is None else status)
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
