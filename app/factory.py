"""The composition of the service: stores in, a Flask application out."""

import logging

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

import qido.routes
import wado.routes
from ahi.ahead import Ahead, Budget
from ahi.cache import Cache
from ahi.described import Described
from ahi.fetchers import Fetchers
from ahi.store import Encoded, Frames, ImageSets
from app import ae_titles, health
from app.access_log import add_access_log
from app.ae_titles import ServiceRoot
from app.cors import add_cors
from app.settings import Settings
from db.engine import Database
from db.scope import Scope
from dicomweb import respond
from dicomweb.errors import ProxyError
from dicomweb.public_root import PublicRoot
from qido.image_sets import Archive
from wado.locate import Locator

log = logging.getLogger(__name__)

PREFIX = f"/{ae_titles.DEFAULT}"


def create_app(settings: Settings, database: Database, fetchers: Fetchers) -> Flask:
    """The service below `/aetitle`, and below the roots of all other AE titles."""
    cache = Cache(settings.cache_root, settings.cache_max_bytes)
    image_sets = ImageSets(fetchers, cache, fresh_seconds=settings.image_set_fresh_seconds)
    frames = Frames(fetchers, cache)
    roots: dict[str, ServiceRoot] = {}  # by the name under which a blueprint is registered there

    def here() -> ServiceRoot:
        return roots[request.blueprint or ""]

    def public_root() -> str:
        return PublicRoot(settings.public_url, here().path).of(request.environ)

    def scope() -> Scope:
        """What the client may see: whatever limits it meets here, by `&`."""
        return here().scope

    locator, encoded = Locator(database, image_sets, scope), Encoded(cache)
    budget = Budget(settings.prefetch_frames, min(settings.prefetch_max_bytes, settings.cache_max_bytes // 8))
    ahead = Ahead(fetchers, cache, budget)
    retrieve = wado.routes.Retrieve(locator, frames, encoded, ahead, fetchers, public_root)
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False
    add_access_log(app)
    add_cors(app, settings.cors_origins)
    archive = Archive(database, Described(image_sets, fetchers), settings.search_max_image_sets, public_root)
    blueprints = (
        qido.routes.blueprint(archive, scope, settings.max_results),
        wado.routes.blueprint(retrieve),
        health.blueprint(database, fetchers),
    )
    for number, root in enumerate(ae_titles.service_roots(settings.ae_titles, dcm4chee_paths=settings.dcm4chee_paths)):
        for blueprint in blueprints:
            name = f"{blueprint.name}-{number}" if number else blueprint.name
            roots[name] = root
            app.register_blueprint(blueprint, url_prefix=root.path, name=name)
    app.register_error_handler(ProxyError, respond.problem)
    app.register_error_handler(HTTPException, respond.problem)
    app.register_error_handler(Exception, _unexpected)
    return app


def _unexpected(error: Exception) -> Response:
    log.error("request failed path=%s", request.path, exc_info=error)
    return respond.internal_error()
