"""OPTIONS (PS3.18 Section 8.9): all resources with methods, parameters and media types. Runs in the web processes.

The root describes itself to GET as well; browsers get a page.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from flask import Blueprint, Flask, Response, request
from werkzeug.routing import Rule

from app.service_roots import blueprint_name
from dicomweb import respond
from dicomweb.capabilities import Capability, encode_json, encode_wadl
from dicomweb.capabilities_page import POLICY, encode_html
from dicomweb.media_types import DICOM, HTML, JSON, WADL, ZIP
from dicomweb.negotiation import Accept, Offer, offered_types
from dicomweb.transfer_syntax import TRANSFER_SYNTAXES
from qido.encode.results import OFFERS as SEARCH_OFFERS
from qido.parse.attributes import ATTRIBUTES, Level, Matching
from store.answer import OFFERS as RECEIPTS
from store.receive.request import BODY_TYPES
from store.routes import NAME as STORE
from wado.representation import METADATA_OFFERS, RENDERED_OFFERS

_FORMATS = (Offer(WADL), Offer(JSON), Offer(HTML))
_ENCODERS = {WADL: encode_wadl, JSON: encode_json, HTML: encode_html}
_CONTENT_TYPES = {HTML: f"{HTML}; charset=utf-8"}
_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")
_METHODS = ("GET", "HEAD", "OPTIONS", "POST")
_PAGING = ("limit", "offset", "includefield", "orderby", "count")
_MATCHING = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
_URI_PARAMETERS = ("requestType", "studyUID", "seriesUID", "objectUID", "contentType", "transferSyntax", "frameNumber")


@dataclass(frozen=True)
class _Answer:
    """Parameters, headers and media types of the resources whose path has this ending."""

    ending: str
    media_types: tuple[str, ...]
    parameters: tuple[str, ...] = ("accept",)
    headers: tuple[str, ...] = ("Accept", "If-None-Match")


def _multipart(media_type: str) -> str:
    return f'multipart/related; type="{media_type}"'


def _single_or_multipart(media_types: Iterable[str]) -> tuple[str, ...]:
    single = tuple(dict.fromkeys(media_types))
    return (*map(_multipart, single), *single)


_FRAMES = _single_or_multipart(syntax.media_type for syntax in TRANSFER_SYNTAXES.values())
_PARTS = tuple(media_type for media_type in _FRAMES if media_type.startswith("multipart/"))
_FILES = (_multipart(DICOM), DICOM, ZIP)
_PICTURES = tuple(offer.media_type for offer in RENDERED_OFFERS)
_METADATA = tuple(offered_types(METADATA_OFFERS, single=True, multipart=False))
_RESULTS = tuple(offered_types(SEARCH_OFFERS, single=True, multipart=False))
_NEGOTIATED = ("accept", "transfer-syntax")
_RANGED = ("Accept", "If-None-Match", "Range", "If-Range")

_ANSWERS = (
    _Answer("/metadata", _METADATA, headers=("Accept", "Accept-Encoding", "If-None-Match")),
    _Answer("/rendered", _PICTURES),
    _Answer("/thumbnail", _PICTURES),
    _Answer("/pixeldata", _FRAMES, _NEGOTIATED, _RANGED),
    _Answer("/frames/<frame_list>", _FRAMES, _NEGOTIATED, _RANGED),
    _Answer("/bulkdata", _PARTS, _NEGOTIATED),
    *(_Answer(f"/bulkdata/7FE000{element}", _FRAMES, _NEGOTIATED, _RANGED) for element in ("10", "08", "09")),
    _Answer("/<path:tag_path>", _single_or_multipart(["application/octet-stream"]), headers=_RANGED),
    _Answer("/<study>", _FILES, _NEGOTIATED),
    _Answer("/<series>", _FILES, _NEGOTIATED),
    _Answer("/<instance>", _FILES, _NEGOTIATED),
    _Answer("/wado", (*_PICTURES, DICOM), _URI_PARAMETERS),
    _Answer("/prefetch", (JSON,), (), ()),
    _Answer("/health", ("text/plain",), (), ()),
    _Answer("/live", ("text/plain",), (), ()),
    _Answer("/", (WADL, JSON, HTML), headers=("Accept",)),
    _Answer("", (), (), ()),
)
"""The first whose ending fits describes a route; the routes of searches are described by their level."""


def describe(rules: Iterable[Rule], prefix: str) -> list[Capability]:
    """One capability for each path below the prefix, sorted by path."""
    below = sorted((rule for rule in rules if _below(rule, prefix)), key=lambda rule: rule.rule)
    return [_capability(list(of_path), prefix) for _, of_path in groupby(below, key=lambda rule: rule.rule)]


def _below(rule: Rule, prefix: str) -> bool:
    return rule.rule.startswith(prefix + "/")


def _capability(of_path: Sequence[Rule], prefix: str) -> Capability:
    """The capability of one path, from all its rules."""
    rule = next((rule for rule in of_path if "GET" in (rule.methods or ())), of_path[0])
    stores = any(blueprint_name(rule.endpoint.partition(".")[0]) == STORE for rule in of_path)
    answer = _search(rule) or next(answer for answer in _ANSWERS if rule.rule.endswith(answer.ending))
    path = _VARIABLE.sub(r"{\1}", rule.rule.removeprefix(prefix))
    methods = tuple(method for method in _METHODS if any(method in (rule.methods or ()) for rule in of_path))
    variables = tuple(_VARIABLE.findall(rule.rule.removeprefix(prefix)))
    bodies = (BODY_TYPES, RECEIPTS) if stores else ()
    return Capability(path, variables, methods, answer.parameters, answer.headers, answer.media_types, *bodies)


def _search(rule: Rule) -> _Answer | None:
    """The parameters of a search: the attributes of its level and of all levels above; None for other routes."""
    level = (rule.defaults or {}).get("level")
    if not isinstance(level, Level):
        return None
    keys = (one.keyword for one in ATTRIBUTES if one.level <= level and one.matching is not Matching.NONE)
    if rule.rule.endswith("/count"):
        return _Answer("/count", (JSON,), (*keys, *_MATCHING), ())
    return _Answer("", _RESULTS, (*keys, *_PAGING, *_MATCHING, "accept"), ("Accept",))


def blueprint(app: Flask, prefix: Callable[[], str], public_root: Callable[[], str]) -> Blueprint:
    """The root, which has GET for people. OPTIONS is answered for every resource and those below it.

    `prefix` tells the URL rule of the root of a request. Must be made after CORS, which answers preflights, and after
    the gate.
    """
    root = Blueprint("capabilities", __name__)

    def answer() -> Response:
        path = str(request.url_rule).rstrip("/") if request.url_rule else prefix()
        rules = [rule for rule in app.url_map.iter_rules() if f"{rule.rule}/".startswith(f"{path}/")]
        accept = Accept.from_request(request.query_string, request.headers.get("Accept"))
        chosen = accept.find(_FORMATS, single=True)
        media_type = chosen.offer.media_type if chosen else WADL  # OPTIONS is never refused for its Accept header
        description = _ENCODERS[media_type](public_root(), describe(rules, prefix()))
        response = respond.single(description, _CONTENT_TYPES.get(media_type, media_type))
        if media_type == HTML:
            response.headers["Content-Security-Policy"] = POLICY
        response.allow.update(request.url_rule.methods or () if request.url_rule else ())
        respond.varies(response, "Accept")
        return response

    root.add_url_rule("/", "root", answer, strict_slashes=False)

    @app.before_request
    def options() -> Response | None:
        return answer() if request.method == "OPTIONS" and request.url_rule else None

    return root
