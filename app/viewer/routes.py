"""The routes of the viewer: its files and page for everyone, its configuration for each caller."""

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from flask import Blueprint, Response, request

from app.viewer.config import EXTENSION, EXTENSION_NAME, DataSource, configuration, leaving
from app.viewer.folder import INDEX, Representation, ViewerFile, ViewerFolder
from app.viewer.page import ENDED, INERT_POLICY, WORKER_POLICY, ended_page, page_of, page_policy
from app.viewer_parts import CONFIG, FILES, OPENER, PATH
from dicomweb import respond
from dicomweb.conditional import entity_tag
from dicomweb.content_coding import Coding, choose_coding
from dicomweb.errors import NotFound, Unauthorized
from runtime.file_piece import FilePiece

Prefix = Callable[[], str]
"""The path of a proxy before all paths of this service, as the client of the request sees it; "" for none."""

_IMMUTABLE, _ASKED_AGAIN = "public, max-age=31536000, immutable", "no-cache"
_OWN_ORIGIN = {"Cross-Origin-Resource-Policy": "same-origin"}
_OF_PAGE = {"Cross-Origin-Opener-Policy": "same-origin", **_OWN_ORIGIN}
"""No Cross-Origin-Embedder-Policy: only the AI models share memory between threads, and they are left out."""

_SCRIPT = "text/javascript; charset=utf-8"
_STUDIES = "StudyInstanceUIDs"


def files(folder: ViewerFolder, prefix: Prefix) -> Blueprint:
    """All files of the viewer. A path that only the viewer knows gets its page, if a browser goes there."""
    bp = Blueprint(FILES, __name__)

    @bp.get(PATH, defaults={"path": ""})
    @bp.get(f"{PATH}/<path:path>")
    def file(path: str) -> Response:
        if path in ("", INDEX):
            return _page(folder, prefix())
        found = folder.find(path)
        if found is not None:
            return _file(folder, found)
        if _is_navigation():
            return _page(folder, prefix())
        raise NotFound("the viewer has no such file")

    @bp.get(f"{PATH}/{EXTENSION_NAME}")
    def extension() -> Response:
        return _with(respond.single(EXTENSION, _SCRIPT), _OWN_ORIGIN, INERT_POLICY, _IMMUTABLE)

    @bp.get(ENDED)
    def ended() -> Response:
        html, policy = ended_page()
        return _with(respond.single(html.encode(), "text/html; charset=utf-8"), _OF_PAGE, policy, "no-store")

    return bp


def config(
    sources: Callable[[], Sequence[DataSource]],
    link_sources: Callable[[], Sequence[DataSource]],
    is_logged_in_by_proxy: Callable[[], bool],
    login: str,
    prefix: Prefix,
) -> Blueprint:
    """`app-config.js` with the roots of the caller, and those of the links that the browser has opened.

    Without either, the page goes to `login`, a path of this service.
    """
    bp = Blueprint(CONFIG, __name__)

    @bp.get(f"{PATH}/app-config.js")
    def app_config() -> Response:
        found = [*sources(), *link_sources()]
        return _script(configuration(found, prefix=prefix(), ended="" if is_logged_in_by_proxy() else login))

    @bp.errorhandler(Unauthorized)
    def without_login(error: Unauthorized) -> Response:
        if found := link_sources():
            return _script(configuration(found, prefix=prefix(), ended=ENDED, login=login))
        if _has_credentials() or (login == ENDED and _asks_for_password(error)):
            return respond.problem(error)  # a refused password counts, and a browser asks for another
        return _script(leaving(prefix() + login))

    return bp


def opener(
    source_name: Callable[[], str],
    study: Callable[[], str | None],
    mark: Callable[[Response], None],
    prefix: Prefix,
) -> Blueprint:
    """`/viewer` below a root: the viewer with this root, and with the study of a link or of the query.

    `mark` gives the browser what it needs to use the root.
    """
    bp = Blueprint(OPENER, __name__)

    @bp.get(PATH)
    def open_viewer() -> Response:
        name, uids = quote(source_name()), study() or request.args.get(_STUDIES)
        place = f"viewer/{name}?{_STUDIES}={quote(uids, safe=',.')}" if uids else f"?datasources={name}"
        response = Response(status=303, headers={"Location": f"{prefix()}{PATH}/{place}", "Cache-Control": "no-store"})
        mark(response)
        return response

    return bp


def _page(folder: ViewerFolder, prefix: str) -> Response:
    file = folder.find(INDEX)
    try:
        html = page_of(file.text(), prefix) if file else None
    except OSError:
        folder.read_again()
        html = None
    if html is None:
        raise NotFound("there is no viewer: run script/viewer, or set VIEWER_ROOT")
    answer = respond.unless_known(
        request.headers,
        entity_tag("viewer page", html),
        _ASKED_AGAIN,
        "Accept",
        lambda: respond.single(html.encode(), "text/html; charset=utf-8"),
    )
    return _with(answer, _OF_PAGE, page_policy(html))


def _file(folder: ViewerFolder, file: ViewerFile) -> Response:
    try:
        found = file.open(choose_coding(request.headers.get("Accept-Encoding")))
    except OSError as error:
        folder.read_again()
        raise NotFound("the viewer has no such file") from error
    caching = _IMMUTABLE if file.is_immutable else _ASKED_AGAIN
    piece = FilePiece(found.file, 0, found.length_bytes)  # closes the file, whatever becomes of the answer
    answer = respond.unless_known(
        request.headers, found.tag, caching, "Accept-Encoding", lambda: _ranged(file.media_type, found, piece)
    )
    return _with(answer, _OWN_ORIGIN, WORKER_POLICY if file.media_type == _SCRIPT else INERT_POLICY)


def _ranged(media_type: str, found: Representation, piece: FilePiece) -> Response:
    def read(start: int, stop: int) -> list[FilePiece]:
        return [piece.cut(start, stop)]

    response = respond.ranged(request.headers, found.tag, media_type, found.length_bytes, read)
    if found.coding is not Coding.IDENTITY:
        response.headers["Content-Encoding"] = found.coding.value
    return response


def _script(text: str) -> Response:
    answer = respond.single(text.encode(), _SCRIPT)
    respond.varies(answer, "Cookie")
    return _with(answer, _OWN_ORIGIN, WORKER_POLICY, "no-store")


def _with(response: Response, headers: Mapping[str, str], policy: str, caching: str = "") -> Response:
    response.headers.update({**headers, "Content-Security-Policy": policy})
    if caching:
        response.headers["Cache-Control"] = caching
    return response


def _is_navigation() -> bool:
    """Whether a browser goes to the path as to a page."""
    mode = request.headers.get("Sec-Fetch-Mode", "navigate")
    return mode == "navigate" and "text/html" in request.headers.get("Accept", "")


def _has_credentials() -> bool:
    return "Authorization" in request.headers or bool(request.query_string)


def _asks_for_password(error: Unauthorized) -> bool:
    """Whether a browser that gets the error asks for a password by itself."""
    return any(challenge.startswith("Basic") for challenge in error.challenges)
