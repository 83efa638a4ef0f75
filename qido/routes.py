"""The resources of a search (PS3.18 Section 10.6). Each route: parse, search, choose a media type, encode, respond."""

import json
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from db.scope import Scope
from dicomweb import respond
from dicomweb.media_types import JSON
from dicomweb.negotiation import Accept
from dicomweb.parameters import parse_parameters
from qido.encode.data_sets import warnings
from qido.encode.results import OFFERS, encode
from qido.execute.search import count, search
from qido.image_sets.archive import Archive
from qido.parse.attributes import Level
from qido.parse.bounds import QUERY_BYTES
from qido.parse.query import Query, parse_query

_RESOURCES = {  # PS3.18 Table 10.6.1-1, and patients; each with `/count` below it, which the standard does not have
    "/patients": Level.PATIENT,
    "/studies": Level.STUDY,
    "/studies/<study>/series": Level.SERIES,
    "/studies/<study>/instances": Level.INSTANCE,
    "/series": Level.SERIES,
    "/studies/<study>/series/<series>/instances": Level.INSTANCE,
    "/instances": Level.INSTANCE,
}


def blueprint(archive: Archive, scope: Callable[[], Scope], max_results: int = 1000) -> Blueprint:
    """The search resources. `scope` gives the part of the archive that the client of a request may see.

    An answer has at most `max_results` results.
    """
    routes = Blueprint("qido", __name__)

    def parse(level: Level, study: str | None = None, series: str | None = None) -> Query:
        QUERY_BYTES.check(request.query_string)
        parameters = parse_parameters(request.query_string)
        return parse_query(parameters, level, study, series, max_results=max_results, scope=scope())

    def find_results(**target: Any) -> Response:
        query = parse(**target)
        found = search(archive, query)
        accept = Accept.from_request(request.query_string, request.headers.get("Accept"))
        media_type = accept.choose(OFFERS, single=True, multipart=False).offer.media_type
        content_type, body = encode(media_type, query, found, archive.public_root())
        return respond.found(request.headers, body, content_type, warnings(query, found), found.total)

    def count_results(**target: Any) -> Response:
        query = parse(**target)
        found = count(archive, query)
        body = json.dumps({"count": found.number}).encode()
        return respond.found(request.headers, [body], JSON, [*query.warnings, *found.warnings])

    for rule, level in _RESOURCES.items():
        for path, view in ((rule, find_results), (f"{rule}/count", count_results)):
            routes.add_url_rule(path, endpoint=path, view_func=view, defaults={"level": level}, methods=["GET"])
    return routes
