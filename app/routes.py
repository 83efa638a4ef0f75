"""All routes of the service, registered below each service root. Runs in the web processes."""

from flask import Blueprint, Flask

import qido.routes
import store.routes
import wado.metadata.routes
import wado.rendered.routes
import wado.routes
import wado.uri.routes
from app import capabilities, health
from app.ae_titles import DEFAULT
from app.console.routes import register_console
from app.console_parts import PATH as CONSOLE
from app.prefetch import routes as prefetch
from app.request_state import current_root_rule
from app.service_roots import registered_name
from app.services import Services, file_choice
from app.viewer.install import register_viewer
from app.viewer.page import login_path

FRONT_DOOR = f"{health.NAME}@0"
"""The name of `/`, which is below no root; it counts to the first one."""


def install_routes(app: Flask, services: Services) -> None:
    """Register every blueprint below every root."""
    blueprints = [*_search_and_retrieve(services), *_store(services), *_service_resources(app, services)]
    for index, root in enumerate(services.roots):
        for blueprint in blueprints:
            name = registered_name(blueprint.name, index)
            app.register_blueprint(blueprint, url_prefix=root.path, name=name)
    if services.settings.console:
        register_console(app, services)
    page = (
        f"{CONSOLE.lstrip('/')}/" if services.settings.console else DEFAULT
    )  # relative: a proxy may have a path before it
    app.register_blueprint(health.front_door(page), name=FRONT_DOOR)
    register_viewer(app, services, login_path(services.gate))


def _search_and_retrieve(services: Services) -> list[Blueprint]:
    locator, fetchers, public_root = services.locator, services.fetchers, services.public_root
    frames, bad_frames, files = services.frames, services.bad_frames, file_choice(services.settings)
    rendered = services.rendered_images
    metadata = wado.metadata.routes.MetadataService(locator, services.encoded_answers, fetchers, public_root)
    retrieve = wado.routes.RetrieveService(
        locator, frames, services.lookahead, fetchers, public_root, files, bad_frames
    )
    pictures = wado.rendered.routes.RenderedService(locator, fetchers, rendered, public_root, bad_frames)
    uri = wado.uri.routes.UriService(locator, files, frames, fetchers, rendered, public_root, bad_frames)
    return [
        qido.routes.blueprint(services.archive, services.search_scope, services.settings.max_results),
        wado.metadata.routes.blueprint(metadata),
        wado.routes.blueprint(retrieve),
        wado.rendered.routes.blueprint(pictures),
        wado.uri.routes.blueprint(uri),
    ]


def _store(services: Services) -> list[Blueprint]:
    return [store.routes.blueprint(services.store)] if services.store else []


def _service_resources(app: Flask, services: Services) -> list[Blueprint]:
    metrics = services.monitoring.process_metrics
    return [
        capabilities.blueprint(app, current_root_rule, services.public_root),
        prefetch.blueprint(services.prefetch_socket, services.may_see),
        health.blueprint(
            services.index,
            services.fetchers,
            sample_data=bool(services.settings.embedded),
            counters=metrics.counters if services.settings.store and metrics else None,
        ),
    ]
