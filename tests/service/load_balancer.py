"""A load balancer that logs people in, as an application load balancer of AWS does: a proxy before the service.

It sends browsers without its cookie to a page of another origin, where they sign in by a link, and then back to the
page that they wanted. To the service, it vouches for them by a header that it signs (ES256).
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, quote, urlsplit

import requests

from tests.app.auth.provider import Provider

ARN = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/dicomweb/0123456789abcdef"
KEY, COOKIE = "alb", "AWSELBAuthSessionCookie-0"
_OF_CONNECTION = {"connection", "content-length", "transfer-encoding", "keep-alive"}


class LoadBalancer:
    """A running load balancer. `target` is the origin of the service, set once it runs."""

    def __init__(self, provider: Provider) -> None:
        self.target = self.origin = self.login = ""
        self._provider = provider
        self._sessions = set[str]()
        provider.add_key(KEY, "ES256")

    @property
    def settings(self) -> dict[str, str]:
        """The settings of the service behind it."""
        return {"AUTH": "alb", "ALB_ARN": ARN, "ALB_PUBLIC_KEYS_URL": self._provider.issuer}

    def end_sessions(self) -> None:
        """End all logins."""
        self._sessions.clear()

    def knows(self, cookies: str) -> bool:
        """Whether somebody has logged in with these cookies."""
        return COOKIE in (found := SimpleCookie(cookies)) and found[COOKIE].value in self._sessions

    def log_in(self) -> str:
        """Begin a login; the cookie of it."""
        session = secrets.token_hex()
        self._sessions.add(session)
        return f"{COOKIE}={session}; Path=/; HttpOnly"

    def voucher(self) -> dict[str, str]:
        """The header for the service."""
        header = {"signer": ARN, "exp": int(time.time()) + 120, "iss": self._provider.issuer, "client": "c"}
        return {"X-Amzn-Oidc-Data": self._provider.token(KEY, headers=header)}


@contextmanager
def load_balanced(provider: Provider) -> Iterator[LoadBalancer]:
    """A load balancer on loopback, whose login is at `localhost`: another origin than `127.0.0.1`."""
    balancer = LoadBalancer(provider)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path)
            back = parse_qs(path.query).get("back", ["/"])[0]
            if path.path == "/log-in-here":
                link = f'<a href="{balancer.origin}/oauth2/idpresponse?back={quote(back)}">Log in at the hospital</a>'
                self._send(200, {"Content-Type": "text/html"}, f"<!doctype html><title>Login</title>{link}".encode())
            elif path.path == "/oauth2/idpresponse":
                self._send(302, {"Location": back, "Set-Cookie": balancer.log_in()}, b"")
            elif not balancer.knows(self.headers.get("Cookie", "")):
                self._send(302, {"Location": f"{balancer.login}?back={quote(self.path, safe='')}"}, b"")
            else:
                self._forward()

        do_POST = do_HEAD = do_GET

        def _forward(self) -> None:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_CONNECTION}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = requests.request(
                self.command,
                balancer.target + self.path,
                headers={**headers, **balancer.voucher()},
                data=body,
                allow_redirects=False,
                stream=True,
                timeout=60,
            )
            content = answer.raw.read(decode_content=False)
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_CONNECTION}
            self._send(answer.status_code, kept, content)

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            with suppress(OSError):  # the browser has left the page
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 304:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    balancer.origin = f"http://127.0.0.1:{server.server_port}"
    balancer.login = f"http://localhost:{server.server_port}/log-in-here"
    yield balancer
    server.shutdown()
    thread.join()
    server.server_close()
