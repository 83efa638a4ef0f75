"""The login at an OpenID Connect issuer, its renewal, and its end. Runs in the web processes.

The browser keeps what belongs to it, sealed: nobody can read or change it there. The cookie `login` has an attempt, for
ten minutes. The cookie `issued` has the tokens that renew the login, and end it at the issuer.
"""

from http import HTTPStatus
from typing import NamedTuple

from flask import Blueprint, Response, g, request

from app.auth.issuer_login import Attempt, Issue, IssuerLogin
from app.auth.principal import ANYONE, NotProven, Session
from app.auth.sealed import Sealed
from app.auth.session import LARGEST_BYTES, TooLarge
from app.console.next_path import NEXT
from app.console.sign_in import SignIn
from app.console_parts import PATH
from dicomweb.errors import NotFound, UpstreamBusy

OIDC = "oidc"
RENEWED_SECONDS = 600.0
"""The age at which the issuer is asked again whether it vouches for the user of a session."""

_ATTEMPT, _ISSUED, _ASKED = "login", "issued", "asked"
_ATTEMPT_SECONDS = 600
_ASKED_SECONDS = 30  # an issuer that is away, or is being asked by another page, is left alone for so long


class _Issued(NamedTuple):
    """The tokens of a session."""

    session_id: str
    refresh_token: str
    id_token: str


class IssuerPages:
    """The routes of the login at an issuer, and its end."""

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in = sign_in
        key = sign_in.console.services.session_state.key
        self._attempts, self._tokens = Sealed(key, "attempts to sign in"), Sealed(key, "tokens of an issuer")

    def add_routes(self, bp: Blueprint) -> None:
        """Add the way to the issuer, the way back, and the renewal."""
        bp.add_url_rule("/login/issuer", "issuer", self._begin)
        bp.add_url_rule("/login/return", "return", self._come_back)
        bp.add_url_rule("/login/renew", "renew", self._renew)

    def sign_out(self) -> Response:
        """End the session here, and send the browser on to end it at the issuer as well."""
        sign_in, issued, session = self._sign_in, self._issued(), self._sign_in.session
        end_url = None
        if session and session.principal.scheme == OIDC and sign_in.gate.issuer_login:
            end_url = sign_in.gate.issuer_login.end_url(issued.id_token if issued else "", self._url("/login/out"))
        sign_in.revoke()
        g.principal = ANYONE  # the page is nobody's
        response = sign_in.forget(sign_in.console.page("signed_out.html", end_url=end_url))
        sign_in.set_cookie(response, _ISSUED, "")
        if end_url:
            response.headers["Refresh"] = f"0; url={end_url}"
        return response

    def _begin(self) -> Response:
        self._sign_in.check_address()
        attempt = Attempt.new()
        response = self._sign_in.leave(self._login.url(attempt, self._url("/login/return")))
        kept = self._attempts.seal([attempt.state, attempt.nonce, attempt.verifier, self._sign_in.next])
        self._sign_in.set_cookie(response, _ATTEMPT, kept, _ATTEMPT_SECONDS)
        return response

    def _come_back(self) -> Response:
        sign_in = self._sign_in
        sign_in.check_address()
        try:
            state, nonce, verifier, g.next_page = self._attempts.open(sign_in.cookie(_ATTEMPT))
            attempt = Attempt(state, nonce, verifier)
            issue = self._login.finish(attempt, request.args.to_dict(), self._url("/login/return"))
            session = sign_in.sessions.open(issue.principal or ANYONE)
            response = sign_in.begin(session)
        except (NotProven, TooLarge):
            response = sign_in.page("login_issuer_refused", http_status=HTTPStatus.UNAUTHORIZED)
        else:
            self._keep(response, session, issue)
        sign_in.set_cookie(response, _ATTEMPT, "")
        return response

    def _renew(self) -> Response:
        """Pages call it by a script; or browsers are sent here, and from here back to their page."""
        sign_in, session = self._sign_in, self._sign_in.session
        by_script = NEXT not in request.args
        response = Response(status=HTTPStatus.NO_CONTENT) if by_script else sign_in.leave(sign_in.next)
        if session is None and sign_in.jar.name not in request.cookies:
            return response  # the caller has no session, but another way: a load balancer for example
        if session is None:
            return Response(status=HTTPStatus.UNAUTHORIZED) if by_script else sign_in.leave(sign_in.link("/login"))
        try:
            newer = self._vouched(response, session) or sign_in.sessions.renewed(session)
        except NotProven:
            return sign_in.end(Response(status=401) if by_script else sign_in.leave(sign_in.link("/login")))
        if newer:
            sign_in.jar.set_session(response, sign_in.sessions.token(newer))
        return response

    def _vouched(self, response: Response, session: Session) -> Session | None:
        """The session that the issuer vouches for again; None if it is too early to ask, or the issuer is away."""
        issued, sign_in = self._issued(), self._sign_in
        if session.principal.scheme != OIDC or issued is None or not issued.refresh_token:
            return None
        if sign_in.sessions.vouched_ago(session) < RENEWED_SECONDS:
            return None
        try:
            if sign_in.console.services.session_state.renewals.take(session.session_id):
                raise UpstreamBusy("another page is asking")  # a token that refreshes is often for one use
            issue = self._login.refresh(issued.refresh_token, session.principal)
        except UpstreamBusy:
            sign_in.set_cookie(response, _ASKED, "1", _ASKED_SECONDS)
            return None
        self._keep(response, session, issue)
        return sign_in.sessions.vouched(session, issue.principal)

    def renewal(self) -> Response | None:
        """The way to the renewal for a page whose session needs it; None for others."""
        sign_in, session = self._sign_in, self._sign_in.session
        if session is None or session.principal.scheme != OIDC or not sign_in.cookie(_ISSUED) or sign_in.cookie(_ASKED):
            return None
        if sign_in.sessions.vouched_ago(session) < RENEWED_SECONDS:
            return None
        return sign_in.by("/login/renew")

    def _keep(self, response: Response, session: Session, issue: Issue) -> None:
        """Have the browser keep the tokens, as far as they fit into a cookie."""
        pairs = [(issue.refresh_token, issue.id_token), (issue.refresh_token, ""), ("", issue.id_token)]
        sealed = [self._tokens.seal(_Issued(session.session_id, *pair)) for pair in pairs]
        fitting = next((text for text in sealed if len(text) <= LARGEST_BYTES), "")
        self._sign_in.set_cookie(response, _ISSUED, fitting)

    def _issued(self) -> _Issued | None:
        """The tokens of this session; None if there are none."""
        try:
            issued = _Issued(*self._tokens.open(self._sign_in.cookie(_ISSUED)))
        except NotProven:
            return None
        session = self._sign_in.session
        return issued if session and issued.session_id == session.session_id else None

    @property
    def _login(self) -> IssuerLogin:
        if self._sign_in.gate.issuer_login is None:
            raise NotFound("this service has no login at an issuer")
        return self._sign_in.gate.issuer_login

    def _url(self, below: str) -> str:
        return self._sign_in.url(PATH + below)
