"""The composition of the service: stores in, a Flask application out."""

import logging

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

import qido.routes
import wado.routes
from ahi.ahead import Ahead, Budget
from ahi.cache import Cache
from ahi.counters import Tally
from ahi.fetchers import Fetchers
from ahi.store import Encoded, Frames, ImageSets
from app import health, prefetch
from app.access_log import add_access_log
from app.cors import add_cors
from app.sending import with_pieces_read
from app.settings import Settings
from db.engine import Database
from dicomweb import respond
from dicomweb.errors import ProxyError
from dicomweb.public_root import PublicRoot
from wado.locate import Locator

log = logging.getLogger(__name__)

PREFIX = "/aetitle"


def create_app(
    settings: Settings, database: Database, fetchers: Fetchers, tally: Tally | None = None, warmer_path: str = ""
) -> Flask:
    """The service below `/aetitle`; `tally` is what this process counts in, at `warmer_path` the warmer listens."""
    cache = Cache(settings.cache_root, settings.cache_max_bytes, settings.cache_min_free_bytes, tally)
    image_sets = ImageSets(fetchers, cache, fresh_seconds=settings.image_set_fresh_seconds)
    frames = Frames(fetchers, cache)
    root = PublicRoot(settings.public_url, PREFIX)

    def public_root() -> str:
        return root.of(request.environ)

    locator, encoded = Locator(database, image_sets), Encoded(cache)
    budget = Budget(settings.prefetch_frames, min(settings.prefetch_max_bytes, settings.cache_max_bytes // 8))
    ahead = Ahead(fetchers, cache, budget)
    retrieve = wado.routes.Retrieve(locator, frames, encoded, ahead, fetchers, public_root)
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False
    app.wsgi_app = with_pieces_read(app.wsgi_app)  # type: ignore[method-assign,assignment]  # as Flask documents it
    add_access_log(app)
    add_cors(app, settings.cors_origins)
    app.register_blueprint(qido.routes.blueprint(database, public_root, settings.max_results), url_prefix=PREFIX)
    app.register_blueprint(wado.routes.blueprint(retrieve), url_prefix=PREFIX)
    app.register_blueprint(prefetch.blueprint(warmer_path), url_prefix=PREFIX)
    app.register_blueprint(health.blueprint(database, fetchers), url_prefix=PREFIX)
    app.register_error_handler(ProxyError, respond.problem)
    app.register_error_handler(HTTPException, respond.problem)
    app.register_error_handler(Exception, _unexpected)
    return app


def _unexpected(error: Exception) -> Response:
    log.error("request failed path=%s", request.path, exc_info=error)
    return respond.internal_error()
