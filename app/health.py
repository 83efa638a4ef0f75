"""`/live`: the process runs. `/health`: the index and AHI answer as well. Runs in the web processes.

They are separate because an orchestrator replaces a service that does not live. While the index is down, new processes
do not help. Both answer within two seconds, whatever hangs. `/live` calls nothing. `/health` calls index and AHI at
most once a second, in threads of its own.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import wait
from functools import partial

from flask import Blueprint, Response, request

from ahi.retrieval.object_errors import ping_ahi
from ahi.workers.pool import FetcherPool
from app.service_roots import service_roots
from app.settings import Settings
from db.engine import Database
from db.image_sets import any_datastore_id
from dicomweb.errors import ProxyError, UpstreamBusy
from dicomweb.negotiation import Accept, Offer
from dicomweb.respond import warned
from runtime.shared_metrics import Metric, SharedMetrics
from runtime.single_flight import SingleFlight
from store.spool.spool import OLD_SECONDS

NAME = "health"
_TEXT, _PAGE = Offer("text/plain"), Offer("text/html")
LIVE = "/live"
SAMPLE_DATA = "sample data, not AHI"
"""The text in the log and in answers of a service with the embedded data store."""

_BELIEVED_SECONDS = 1.0
_PATIENCE_SECONDS = 1.5


def live_paths(settings: Settings) -> frozenset[str]:
    """The paths of `/live` below all roots of AE titles."""
    roots = service_roots(settings.ae_titles, dcm4chee_paths=settings.dcm4chee_paths)
    return frozenset(root.path + LIVE for root in roots)


def blueprint(
    database: Database,
    fetchers: FetcherPool,
    *,
    sample_data: bool = False,
    counters: SharedMetrics | None = None,
) -> Blueprint:
    """`/live`: 200 `OK`. `/health`: 200 `OK`, or 503 that says what does not answer.

    With `sample_data`, a Warning header of `/health` says that the data are not those of AHI. Another one says if store
    requests wait for long, or were refused, by the `counters` of all processes.
    """
    bp, current = Blueprint(NAME, __name__), Health(database, fetchers)

    @bp.get(LIVE)
    def live() -> Response:
        return _ok()

    @bp.get("/health")
    def health() -> Response:
        current.check()
        return warned(_ok(), [*([SAMPLE_DATA] if sample_data else []), *_spool_warnings(counters)])

    return bp


def _spool_warnings(counters: SharedMetrics | None) -> Iterator[str]:
    """What an operator should know of the spool. It is no reason to take the service out of use."""
    if counters is None:
        return
    if counters.total(Metric.SPOOL_UNREADABLE):
        yield "the folder of the spool cannot be read"
    if (age_seconds := counters.total(Metric.SPOOL_AGE_SECONDS)) > OLD_SECONDS:
        waiting = counters.total(Metric.SPOOL_ENTRIES)
        yield f"{waiting} store requests wait for AWS HealthImaging, the oldest for {age_seconds} seconds"
    if refused := counters.total(Metric.SPOOL_REFUSED) + counters.total(Metric.SPOOL_UNKNOWN):
        yield f"{refused} store requests need the operator: they were refused, or cannot be read"


def front_door(page: str) -> Blueprint:
    """`/`, outside of all AE titles: 200 `OK` for programs, such as load balancers; browsers are sent to a page."""
    bp = Blueprint(NAME, __name__)

    @bp.get("/")
    def root() -> Response:
        chosen = Accept.from_values((), request.headers.get("Accept")).find(
            (_TEXT, _PAGE), single=True, multipart=False
        )
        if chosen and chosen.offer == _PAGE:
            return Response(status=303, headers={"Location": page, "Vary": "Accept"})
        response = _ok()
        response.vary.add("Accept")
        return response

    return bp


def _ok() -> Response:
    return Response("OK", content_type="text/plain; charset=utf-8")


class Health:
    """The health of index and AHI, checked again when the last check is older than a second."""

    def __init__(self, database: Database, fetchers: FetcherPool) -> None:
        self._database = database
        self._fetchers = fetchers
        self._datastore_id: str | None = None  # any data store of the index
        checks = {"the metadata index": self._check_index, "AWS HealthImaging": self._check_ahi}
        self._checks = {name: SingleFlight(partial(_reason, check)) for name, check in checks.items()}

    def check(self) -> None:
        """Check both; UpstreamBusy with all reasons if one does not answer."""
        flights = {name: check.latest(_BELIEVED_SECONDS) for name, check in self._checks.items()}
        wait(flights.values(), _PATIENCE_SECONDS)
        silent = f"has not answered for {_PATIENCE_SECONDS:g} seconds"
        results = [flight.result() if flight.done() else f"{name} {silent}" for name, flight in flights.items()]
        if reasons := [reason for reason in results if reason]:
            raise UpstreamBusy("; ".join(reasons))

    def _check_index(self) -> None:
        self._datastore_id = any_datastore_id(self._database)

    def _check_ahi(self) -> None:
        ping_ahi(self._fetchers, self._datastore_id)


def _reason(check: Callable[[], None]) -> str | None:
    """The reason why a check fails, None if it succeeds."""
    try:
        check()
    except ProxyError as error:
        return str(error)
    return None
