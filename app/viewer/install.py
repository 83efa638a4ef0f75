"""The viewer as part of an application: its routes, and what they ask of the request."""

from functools import partial
from urllib.parse import SplitResult, quote, urlsplit

from flask import Flask, Response, g, request

from app.auth.links import Links, cookie_name, link_id
from app.auth.rights import Right
from app.service_roots import ServiceRoot, registered_name
from app.services import Services
from app.viewer.config import DataSource
from app.viewer.folder import ViewerFolder
from app.viewer.routes import config, files, opener
from app.viewer_parts import FILES, viewer_folder
from dicomweb.public_root import PublicRoot


def register_viewer(app: Flask, services: Services, login: str) -> None:
    """Register the routes of the viewer; callers without a login are sent to the path `login`."""
    settings = services.settings
    folder = viewer_folder(settings.viewer_root)
    if folder is None:
        return
    prefix = partial(_prefix, settings.public_url)
    links = services.gate.links
    app.register_blueprint(files(ViewerFolder(folder.absolute()), prefix), name=FILES)
    of_caller = partial(_sources, services)
    app.register_blueprint(config(of_caller, partial(_link_sources, links), _is_logged_in_by_proxy, login, prefix))
    opening = opener(_source_name, _study, partial(_mark, settings.public_url), prefix)
    for index, root in enumerate(services.roots):
        app.register_blueprint(opening, url_prefix=root.path, name=registered_name(opening.name, index))


def _prefix(public_url: str | None) -> str:
    return _address(public_url).path


def _address(public_url: str | None) -> SplitResult:
    """The address of the service, as the client reaches it."""
    return urlsplit(PublicRoot(public_url, "").of(request.environ))


def _sources(services: Services) -> list[DataSource]:
    """The roots of the AE titles that the caller may read, each at its first path."""
    by_name: dict[str, ServiceRoot] = {}
    for root in services.roots:
        if root.ae_title:
            by_name.setdefault(root.ae_title, root)
    return [
        DataSource(name, name, root.path, _stores(services, root))
        for name, root in by_name.items()
        if Right.READ in g.rights(name)
    ]


def _stores(services: Services, root: ServiceRoot) -> bool:
    return bool(services.store and root.store_datastore_id and Right.STORE in g.rights(root.ae_title))


def _link_sources(links: Links | None) -> list[DataSource]:
    """The links that the browser has opened."""
    if links is None:
        return []
    return [DataSource(one, "shared study", f"/link/{one}") for one, _, _ in links.opened(request.cookies)]


def _is_logged_in_by_proxy() -> bool:
    """Whether a load balancer vouches for the caller, which has a login of its own."""
    return bool(g.principal.scheme == "alb")


def _source_name() -> str:
    return link_id(g.link_token) if "link" in g else str(g.root.ae_title)


def _study() -> str | None:
    return g.link.study_instance_uid if "link" in g else None


def _mark(public_url: str | None, response: Response) -> None:
    """Give the browser the token of the link, which no path of the viewer has."""
    if "link" not in g:
        return
    secure = _address(public_url).scheme == "https"
    response.set_cookie(
        cookie_name(g.link_token, secure=secure),
        quote(g.link_token),
        expires=g.link.expires_at,
        secure=secure,
        httponly=True,
        samesite="Lax",
    )
