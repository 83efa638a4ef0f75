"""The page of a study, those of its series and instances, and the form for a share link. Runs in the web processes."""

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, g, request

from app.auth.links import Links, weasis_url
from app.auth.rights import Right
from app.auth.shared_links import LONGEST_USER
from app.console.attribute_tree import Tree, tree_of
from app.console.console import Console
from app.console.readings import read_uid
from app.console.study_parts import (
    INSTANCES_PER_PAGE,
    SERIES_PER_PAGE,
    find_instances,
    find_one_series,
    find_series,
    find_study,
)
from app.console_parts import PATH, SHARE, STUDY
from app.middleware.warnings import request_warnings
from app.viewer_parts import has_viewer
from db.share_links import SharedLink
from dicomweb.errors import BadRequest, Forbidden, NotFound
from dicomweb.uids import is_well_formed, resource_path
from wado.locate import LocatedInstance
from wado.target import LEVELS, Target

_HTMX = "HX-Request"
_STUDY, _SERIES, _INSTANCE = LEVELS
_LONGEST_SEARCH = 256
LINK_HOURS = (1, 24, 24 * 7, 24 * 30)
"""The choices for the end of a share link, in hours."""


def blueprint(console: Console) -> Blueprint:
    """The pages of study, series and instance, below each service root."""
    bp, services = Blueprint(STUDY, __name__), console.services

    @bp.get(_STUDY)
    def study(study: str) -> Response:
        return console.page("study.html", **study_values(console, study))

    @bp.get(_SERIES)
    def series(study: str, series: str) -> Response:
        scope, page = services.search_scope(), _page_number()
        return console.page(
            "series.html",
            **_common(console, study),
            head=find_study(services.archive, scope, study),
            series=find_one_series(services.archive, scope, study, series),
            found=find_instances(services.archive, scope, study, series, page),
            series_path=resource_path(study, series),
            page_size=INSTANCES_PER_PAGE,
        )

    @bp.get(_INSTANCE)
    def instance(study: str, series: str, instance: str) -> Response:
        located = services.locator.instance(Target.from_path(study, series, instance))
        text = request.args.get("find", "")[:_LONGEST_SEARCH]
        whole = _tree(located, console.public_path(g.root.path))
        values: dict[str, Any] = {"tree": whole.matching(text), "whole": whole, "find": text}
        if _HTMX in request.headers:
            return console.page("instance_tree.html", **values)
        prepared = located.prepared
        return console.page(
            "instance.html",
            **_common(console, study),
            **values,
            series_path=resource_path(study, series),
            instance_path=located.path,
            sop_class=read_uid(prepared.sop_class_uid) or prepared.sop_class_uid,
            sop_instance_uid=prepared.sop_instance_uid,
            transfer_syntax=read_uid(prepared.transfer_syntax_uid) or prepared.transfer_syntax_uid,
            frames=len(prepared.frames),
        )

    return bp


def share(console: Console) -> Blueprint:
    """The form that makes a share link, for those who have the right."""
    bp, services = Blueprint(SHARE, __name__), console.services

    @bp.post(f"{_STUDY}/link")
    def make_link(study: str) -> Response:
        if services.gate.links is None:
            raise NotFound("share links are not enabled")
        values = study_values(console, study)
        if not _is_seen_whole():
            raise Forbidden("you may not see all of this study, so you may not share it")
        path, link = services.gate.links.issue(study, _hours(request.form.get("hours", "")))
        now = time.time()
        shared = SharedLink(Links.id_of(path), g.principal.user[:LONGEST_USER], study, int(now), link.expires_at)
        services.session_state.share_links.note(shared, now)
        return console.page("study.html", **{**values, "link": _link_values(console, study, path, link.end)})

    return bp


def study_values(console: Console, study: str) -> dict[str, Any]:
    """The content of the page of a study; NotFound if there is none in scope."""
    services, scope = console.services, console.services.search_scope()
    return {
        **_common(console, study),
        "head": find_study(services.archive, scope, study),
        "found": find_series(services.archive, scope, study, _page_number()),
        "page_size": SERIES_PER_PAGE,
        "may_share": _may_share(console),
        "link_hours": LINK_HOURS,
        "link": None,
        "weasis": weasis_url(services.public_root(), study) if is_well_formed(study) else "",
        "addresses": _addresses(services.public_root(), study),
        "viewer": _viewer_url(console, study),
    }


def _common(console: Console, study: str) -> dict[str, Any]:
    return {
        "root": console.public_path(g.root.path),
        "pages": console.path(g.root.path),
        "study_path": resource_path(study),
        "quoted": partial(quote, safe=""),
        "quoted_study": quote(study, safe=""),
        "ae_title": g.root.ae_title,
        "request_warnings": request_warnings,
    }


def _addresses(root: str, study: str) -> Mapping[str, str]:
    """The DICOMweb URLs that programs need, by the keys of their texts."""
    path = root + resource_path(study)
    return {"study_url_root": root, "study_url_study": path, "study_url_metadata": f"{path}/metadata"}


def _may_share(console: Console) -> bool:
    return (
        console.services.settings.link_secret is not None
        and "grant" in g
        and Right.SHARE in g.grant.rights
        and _is_seen_whole()
    )


def _is_seen_whole() -> bool:
    """Whether the caller sees all series of each study in scope: a link shows them all."""
    return not g.scope.hides_parts


def _link_values(console: Console, study: str, path: str, expires: str) -> Mapping[str, str]:
    """The URLs of a share link, for people and for programs."""
    origin = console.services.public_root().removesuffix(g.root.path)
    root = origin + path
    return {
        "page": f"{origin}{PATH}{path}{resource_path(study)}",
        "root": root,
        "weasis": weasis_url(root, study) if is_well_formed(study) else "",
        "expires": expires,
    }


def _viewer_url(console: Console, study: str) -> str:
    """The URL of OHIF for a study; "" if the viewer is not there."""
    if not has_viewer(console.services.settings.viewer_root):
        return ""
    return console.public_path(f"{g.root.path}/viewer?StudyInstanceUIDs={quote(study, safe='')}")


def _hours(text: str) -> int:
    """One of the choices of the form; BadRequest for anything else."""
    if text not in map(str, LINK_HOURS):
        raise BadRequest(f"hours is not one of {', '.join(map(str, LINK_HOURS))}")
    return int(text)


def _page_number() -> int:
    text = request.args.get("page", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def _tree(located: LocatedInstance, root: str) -> Tree:
    data_set = json.loads(located.image_set.metadata(located.prepared, root))
    return tree_of(data_set, _sizes(located))


def _sizes(located: LocatedInstance) -> Callable[[str], int | None]:
    """A function that gives the bytes of a bulk value by its URL; None for pixel data, which are made of frames."""

    def size(url: str) -> int | None:
        value = located.prepared.bulk_value(url.partition("/bulkdata/")[2])
        return value.where[1] if value else None

    return size
