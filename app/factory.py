"""The composition of the service: stores in, a Flask application out."""

import logging

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

import qido.routes
import wado.routes
from ahi.cache import Cache
from ahi.described import Described
from ahi.fetchers import Fetchers
from ahi.store import Encoded, Frames, ImageSets
from app import health
from app.access_log import add_access_log
from app.cors import add_cors
from app.settings import Settings
from db.engine import Database
from dicomweb import respond
from dicomweb.errors import ProxyError
from dicomweb.public_root import PublicRoot
from qido.image_sets import Archive
from wado.locate import Locator

log = logging.getLogger(__name__)

PREFIX = "/aetitle"


def create_app(settings: Settings, database: Database, fetchers: Fetchers) -> Flask:
    """The service below `/aetitle`."""
    cache = Cache(settings.cache_root, settings.cache_max_bytes)
    image_sets = ImageSets(fetchers, cache, fresh_seconds=settings.image_set_fresh_seconds)
    frames = Frames(fetchers, cache)
    root = PublicRoot(settings.public_url, PREFIX)

    def public_root() -> str:
        return root.of(request.environ)

    locator, encoded = Locator(database, image_sets), Encoded(cache)
    retrieve = wado.routes.Retrieve(locator, frames, encoded, fetchers, public_root)
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False
    add_access_log(app)
    add_cors(app, settings.cors_origins)
    archive = Archive(database, Described(image_sets, fetchers), settings.search_max_image_sets, public_root)
    app.register_blueprint(qido.routes.blueprint(archive, settings.max_results), url_prefix=PREFIX)
    app.register_blueprint(wado.routes.blueprint(retrieve), url_prefix=PREFIX)
    app.register_blueprint(health.blueprint(database, fetchers), url_prefix=PREFIX)
    app.register_error_handler(ProxyError, respond.problem)
    app.register_error_handler(HTTPException, respond.problem)
    app.register_error_handler(Exception, _unexpected)
    return app


def _unexpected(error: Exception) -> Response:
    log.error("request failed path=%s", request.path, exc_info=error)
    return respond.internal_error()
