"""What the routes of the login share: its page, the cookies of a browser, and the begin of a session."""

from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

from flask import Response, g, request

from app.auth.cookies import CookieJar
from app.auth.gate import Gate
from app.auth.principal import ANYONE, Session
from app.auth.session import Sessions
from app.console.console import Console
from app.console.next_path import NEXT, safe_next
from app.console_parts import PATH
from dicomweb.errors import Forbidden, NotFound
from dicomweb.public_root import PublicRoot

_CLEARED = '"cache"'  # what one user has looked at is not for the next one


class SignIn:
    """The login of one application."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.gate: Gate = console.services.gate

    def by(self, below: str) -> Response:
        """Send the browser to a path of the login, and then back to the page of this request, if it asked for one."""
        path = request.full_path.removesuffix("?") if request.method == "GET" else PATH
        g.next_page = self.console.public_path(path)
        return self.leave(self.link(below))

    @property
    def is_needed(self) -> bool:
        """Whether the service has a login."""
        return bool(self.gate.authenticators)

    @property
    def has_pages(self) -> bool:
        """Whether people can sign in by a page."""
        return self.gate.has_login_page

    @property
    def sessions(self) -> Sessions:
        """The sessions; NotFound in a service without a login."""
        if self.gate.sessions is None:
            raise NotFound("this service has no login")
        return self.gate.sessions

    @property
    def session(self) -> Session | None:
        """The session of the request, if it has one that counts."""
        found: Session | None = g.get("principal", ANYONE).session
        return found

    @property
    def jar(self) -> CookieJar:
        """How this browser keeps cookies."""
        return CookieJar(self.url(""))

    def url(self, path: str) -> str:
        """The whole URL of a path, as the browser reaches it."""
        return PublicRoot(self.console.services.settings.public_url, path).of(request.environ)

    def check_address(self) -> None:
        """Forbidden if somebody on the way could read a cookie or a password."""
        if not self.jar.safe:
            raise Forbidden(self.console.texts.login_plain)

    @property
    def next(self) -> str:
        """The page that the login leads to: what the request asks for, if it is ours."""
        asked = g.get("next_page") or request.values.get(NEXT, "")
        return safe_next(asked, self.console.public_path("")) or self.console.path("/")

    def link(self, below: str) -> str:
        """A path of the console that leads on to the same page."""
        return f"{self.console.path(below)}?{urlencode({NEXT: self.next})}"

    def page(self, message: str = "", name: str = "", http_status: int = HTTPStatus.OK) -> Response:
        """The login page; `message` is the key of a text."""
        return self.console.page(
            "login.html",
            http_status=http_status,
            ways=self.gate.ways,
            issuer=urlsplit(self.console.services.settings.oidc_issuer or "").hostname
            if self.gate.issuer_login
            else "",
            message=self.console.texts(message) if message else "",
            name=name,
            safe=self.jar.safe,
            next=self.next,
            issuer_link=self.link("/login/issuer"),
        )

    def begin(self, session: Session) -> Response:
        """Begin a session: a new cookie in the place of any other, and on to the page that was asked for."""
        self.revoke()
        response = self.leave(self.next)
        self.jar.set_session(response, self.sessions.token(session))
        response.headers["Clear-Site-Data"] = _CLEARED
        g.principal, g.signed_in = session.principal, True
        return response

    def end(self, response: Response) -> Response:
        """End the session of the request, if there is one; its cookies count no more, wherever they are."""
        self.revoke()
        return self.forget(response)

    def revoke(self) -> None:
        """Revoke the session of the request, if there is one."""
        if self.session:
            self.sessions.revoke(self.session)
            g.signed_out = self.session.principal

    def forget(self, response: Response) -> Response:
        """Have the browser forget the session, and what it showed."""
        self.jar.delete_session(response)
        response.headers["Clear-Site-Data"] = _CLEARED
        return response

    @staticmethod
    def leave(path: str) -> Response:
        """Send the browser on."""
        return Response(status=HTTPStatus.SEE_OTHER, headers={"Location": path})

    def cookie(self, name: str) -> str:
        """A cookie of the console; "" without it."""
        return request.cookies.get(self._name(name), "")

    def set_cookie(self, response: Response, name: str, value: str, max_age_seconds: int | None = None) -> None:
        """Set a cookie that only the console gets; an empty value deletes it."""
        response.set_cookie(
            self._name(name),
            value,
            max_age=max_age_seconds if value else 0,
            path=self.console.path(),
            secure=self.jar.secure,
            httponly=True,
            samesite="Lax",
        )

    def _name(self, name: str) -> str:
        return f"__Secure-{name}" if self.jar.secure else name
