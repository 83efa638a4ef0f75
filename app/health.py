"""Whether the service lives (`/live`), and whether it can do its work: the index and AHI answer (`/health`).

They are apart because an orchestrator replaces what does not live: while the index is down, new processes help nobody.
"""

from collections.abc import Callable

from flask import Blueprint, Response

from ahi.fetchers import Fetchers
from ahi.store import ping_ahi
from db.engine import Database
from db.image_sets import any_datastore_id
from dicomweb.errors import ProxyError, UpstreamBusy


def blueprint(database: Database, fetchers: Fetchers) -> Blueprint:
    """`/live`: 200 `OK`. `/health`: 200 `OK`, or 503 that says what does not answer."""
    bp = Blueprint("health", __name__)

    @bp.get("/live")
    def live() -> Response:
        return _ok()

    @bp.get("/health")
    def health() -> Response:
        check(database, fetchers)
        return _ok()

    return bp


def _ok() -> Response:
    return Response("OK", content_type="text/plain; charset=utf-8")


def check(database: Database, fetchers: Fetchers) -> None:
    """Nothing if all is well, else UpstreamBusy with every reason."""
    datastore_ids: list[str | None] = [None]

    def index() -> None:
        datastore_ids[0] = any_datastore_id(database)

    reasons = [*_reason(index), *_reason(lambda: ping_ahi(fetchers, datastore_ids[0]))]
    if reasons:
        raise UpstreamBusy("; ".join(reasons))


def _reason(doing: Callable[[], None]) -> list[str]:
    try:
        doing()
    except ProxyError as error:
        return [str(error)]
    return []
