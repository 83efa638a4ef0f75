"""The composition of the service: stores in, a Flask application out."""

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

import qido.routes
import wado.metadata.routes
import wado.rendered.routes
import wado.routes
import wado.uri.routes
from ahi.archive.bad_frames import BadFrames
from ahi.archive.lookahead import Budget, FrameLookahead
from ahi.archive.metadata_reader import MetadataReader
from ahi.archive.previous_versions import PreviousVersions
from ahi.archive.store import EncodedAnswers, Frames, ImageSets
from ahi.archive.studies import Hint, Studies
from ahi.cache.cache import Cache
from ahi.image_sets.deleted import DeletedImageSets
from ahi.image_sets.image_set import ImageSetKey
from ahi.workers.pool import FetcherPool
from app import ae_titles, capabilities, health
from app.ae_titles import ServiceRoot
from app.audit.middleware import add_audit, note_sop_classes
from app.audit.queue import AuditQueue
from app.auth import links
from app.auth.configure import open_gate
from app.auth.gate import add_gate
from app.deleted_image_sets import DeletedRowFilter
from app.middleware.cors import add_cors
from app.middleware.forwarded import believe
from app.middleware.known_hosts import add_known_hosts
from app.middleware.rate_limit import RateLimiter, add_failed_login_limit, add_rate_limit
from app.middleware.security_headers import add_security_headers
from app.middleware.slashes import with_single_slashes
from app.middleware.unchecked import add_unchecked, note_unchecked, note_unreadable
from app.prefetch import routes as prefetch
from app.server.event_loop import OUT_OF_RESOURCES
from app.server.sendfile import with_pieces_read
from app.settings import EXPLICIT_LE, STORED, Settings
from app.telemetry.access_log import add_access_log, logged_path
from app.telemetry.request_metrics import ProcessRequestMetrics
from db.engine import Database
from db.image_sets import find_datastore_ids, find_image_sets
from db.scope import EVERYTHING, Scope
from dicomweb import respond
from dicomweb.errors import ProxyError, UpstreamBusy
from dicomweb.negotiation import FileChoice
from dicomweb.public_root import PublicRoot
from dicomweb.transfer_syntax import FrameEncoding
from dicomweb.uids import is_well_formed
from qido.image_sets.complete import Archive
from qido.image_sets.doubts import Checks
from runtime.shared_metrics import ProcessMetrics
from wado.locate import Locator
from wado.rendered.rendered_images import RenderedImages

if TYPE_CHECKING:
    from app.telemetry.spans import Spans

log = logging.getLogger(__name__)

PREFIX = f"/{ae_titles.DEFAULT}"


def create_app(
    settings: Settings,
    database: Database,
    fetchers: FetcherPool,
    process_metrics: ProcessMetrics | None = None,
    prefetch_socket: str = "",
    counts: ProcessRequestMetrics | None = None,
    audit_queue: AuditQueue | None = None,
    rate: RateLimiter | None = None,
    spans: "Spans | None" = None,
) -> Flask:
    """The service below `/aetitle`, and below the roots of all other AE titles.

    This process counts in `process_metrics` and `counts`, and audits through `audit_queue`. `rate` bounds what a client
    asks, `spans` traces requests, and the prefetch process listens at `prefetch_socket`.
    """
    cache = Cache(settings.cache_root, settings.cache_max_bytes, settings.cache_min_free_bytes, process_metrics)
    image_sets = ImageSets(
        fetchers, cache, fresh_seconds=settings.image_set_fresh_seconds, note_unchecked=note_unchecked
    )
    frames = Frames(fetchers, cache)
    roots: dict[str, ServiceRoot] = {}  # by the name under which a blueprint is registered there

    def here() -> ServiceRoot:
        return roots[request.blueprint or ""]

    def public_root() -> str:
        return PublicRoot(settings.public_url, g.root.path).of(request.environ)

    def scope() -> Scope:
        scope: Scope = g.scope
        return scope

    deleted_rows = DeletedRowFilter(database, DeletedImageSets(cache))

    def searched() -> Scope:
        """What a search shows; retrieval asks AHI itself, and may find that something is there after all."""
        return scope() & deleted_rows.scope()

    def shown(study: str, series: str | None) -> bool:
        likely = is_well_formed(study) and (series is None or is_well_formed(series))
        return (likely and scope() == EVERYTHING) or studies.has(scope(), study, series)

    previous_versions = PreviousVersions(fetchers, cache, seconds=settings.image_set_old_seconds)
    studies = Studies(hints_of(database), partial(find_datastore_ids, database), image_sets, fetchers)
    locator, encoded = (
        Locator(studies, previous_versions, scope, note_sop_classes, note_unreadable),
        EncodedAnswers(cache),
    )
    budget = Budget(settings.prefetch_frames, min(settings.prefetch_max_bytes, settings.cache_max_bytes // 8))
    lookahead = FrameLookahead(fetchers, cache, budget)
    bad_frames, files = BadFrames(cache), file_choice(settings)
    retrieve = wado.routes.RetrieveService(locator, frames, lookahead, fetchers, public_root, files, bad_frames)
    metadata = wado.metadata.routes.MetadataService(locator, encoded, fetchers, public_root)
    drawn = RenderedImages(fetchers, cache, lookahead)
    uri_service = wado.uri.routes.UriService(locator, files, frames, fetchers, drawn, public_root, bad_frames)
    pictures = wado.rendered.routes.Pictures(locator, fetchers, drawn, public_root, bad_frames)
    app = Flask(__name__, static_folder=None)
    app.ensure_sync = _plain  # type: ignore[method-assign, assignment]
    app.url_map.merge_slashes = False
    wsgi_app = with_single_slashes(with_pieces_read(app.wsgi_app))
    app.wsgi_app = believe(wsgi_app, settings.trusted_proxy)  # type: ignore[method-assign, assignment]
    add_access_log(app, counts)
    if spans:
        spans.add_to(app)
    add_known_hosts(app, settings, health.NAME)
    app.before_request(_ranges_are_for_get)
    add_security_headers(app, settings.public_url)
    add_cors(app, settings.cors_origins)
    add_unchecked(app)
    if rate:
        add_failed_login_limit(app, rate)
    add_gate(app, open_gate(settings), here, health.NAME)
    if rate:
        add_rate_limit(app, rate, health.NAME)
    if audit_queue:
        add_audit(app, audit_queue)
    described = MetadataReader(image_sets, fetchers)
    checks = Checks(database, studies) if len(fetchers) else None  # without fetchers there is nothing but the index
    archive = Archive(database, described, settings.search_max_image_sets, public_root, checks)
    blueprints = (
        qido.routes.blueprint(archive, searched, settings.max_results),
        wado.metadata.routes.blueprint(metadata),
        wado.routes.blueprint(retrieve),
        wado.rendered.routes.blueprint(pictures),
        wado.uri.routes.blueprint(uri_service),
        capabilities.blueprint(app, lambda: here().path, public_root),
        prefetch.blueprint(prefetch_socket, shown),
        health.blueprint(database, fetchers),
    )
    service_roots = ae_titles.service_roots(settings.ae_titles, dcm4chee_paths=settings.dcm4chee_paths)
    for number, root in enumerate([*service_roots, ServiceRoot(links.PATH, service_roots[0].scope)]):
        for blueprint in blueprints:
            name = f"{blueprint.name}@{number}" if number else blueprint.name
            roots[name] = root
            app.register_blueprint(blueprint, url_prefix=root.path, name=name)
    app.register_error_handler(ProxyError, respond.problem)
    app.register_error_handler(HTTPException, respond.problem)
    app.register_error_handler(Exception, _unexpected)
    return app


def live_paths(settings: Settings) -> frozenset[str]:
    """Where it is asked whether the service lives."""
    roots = ae_titles.service_roots(settings.ae_titles, dcm4chee_paths=settings.dcm4chee_paths)
    return frozenset(root.path + health.LIVE for root in roots)


def hints_of(database: Database) -> Callable[[str, str | None], Hint]:
    """What the index names, in AHI's terms."""

    def hint(study: str, series: str | None) -> Hint:
        named = find_image_sets(database, study, series)
        keys = tuple(ImageSetKey(row.datastore_id, row.image_set_id) for row in named.image_sets)
        return Hint(keys, named.known, named.lossy)

    return hint


def file_choice(settings: Settings) -> FileChoice:
    """The preferences of the operator for Part 10 objects."""
    forms = {STORED: FrameEncoding.STORED, EXPLICIT_LE: FrameEncoding.NATIVE}
    return FileChoice(forms[settings.part10_unnamed], forms[settings.part10_any])


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """What Flask calls is never asynchronous here; it would look at each function for each request."""
    return function


def _ranges_are_for_get() -> None:
    """The answer to HEAD is that of a GET without a range (RFC 9110 Section 14.2)."""
    if request.method != "GET":
        request.environ.pop("HTTP_RANGE", None)


def _unexpected(error: Exception) -> Response:
    if isinstance(error, OSError) and error.errno in OUT_OF_RESOURCES:
        log.error("request failed path=%s reason=%s", logged_path(), error.strerror)
        return respond.problem(UpstreamBusy("the service has more to do than it can at the moment"))
    log.error("request failed path=%s", logged_path(), exc_info=error)
    return respond.internal_error()
