"""The conformance statement says what the service does: no resource and no attribute more, none less."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.routing import Rule

from ahi.workers.pool import FetcherPool
from app.ae_titles import DEFAULT
from app.auth import links
from app.console_parts import is_console
from app.factory import create_app
from app.services import Services
from app.settings import Settings
from dicomweb.negotiation import Offer
from qido.parse.attributes import ATTRIBUTES, Matching, Presence
from qido.parse.bounds import BOUNDS
from tests.servers import OpenDatabase
from wado.representation import METADATA_OFFERS, RENDERED_OFFERS, THUMBNAIL_OFFERS

PREFIX = f"/{DEFAULT}"
STATEMENT = Path(__file__).parents[2] / "doc" / "conformance.md"


@pytest.fixture
def app(tmp_path: Path, open_database: OpenDatabase) -> Flask:
    return create_app(Services.of(Settings(cache_root=tmp_path), open_database("sqlite://"), FetcherPool([])))


def _rows() -> list[list[str]]:
    lines = (line for line in STATEMENT.read_text().splitlines() if line.startswith("| "))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_resources_are_the_routes(app: Flask) -> None:
    documented = [row[0].strip("`") for row in _rows() if row[0].startswith("`/")]
    for root in (PREFIX, links.PATH):
        rules = (rule.rule for rule in app.url_map.iter_rules() if rule.rule.startswith(root))
        assert sorted(root + path for path in documented) == sorted(set(rules))


def test_the_attributes_are_those_of_the_search() -> None:
    documented = [row for row in _rows() if len(row) == 5 and len(row[1]) == 8]
    presence = {
        Presence.ALWAYS: "always",
        Presence.IF_KNOWN: "if known",
        Presence.OWN_LEVEL: "at its level",
        Presence.ON_REQUEST: "on request",
    }
    assert documented == [
        [
            attribute.keyword,
            attribute.tag,
            attribute.level.name.lower(),
            "" if attribute.matching is Matching.NONE else attribute.matching.name.lower(),
            presence[attribute.presence],
        ]
        for attribute in ATTRIBUTES
    ]


@pytest.mark.parametrize(
    ("answer", "offers"),
    [("rendered", RENDERED_OFFERS), ("metadata", METADATA_OFFERS), ("thumbnail", THUMBNAIL_OFFERS)],
)
def test_media_types_are_those_that_are_offered(answer: str, offers: Sequence[Offer]) -> None:
    (types,) = [row[1] for row in _rows() if len(row) == 3 and row[0] == answer]
    assert [offer.content_type for offer in offers if offer.content_type not in types] == []


def test_the_bounds_are_those_of_the_search() -> None:
    rows = _rows()
    begin = rows.index(["At most", "Of what"]) + 1
    documented = rows[begin : begin + len(BOUNDS) + 1]
    assert documented[:-1] == [[str(bound.most), bound.what] for bound in BOUNDS]
    assert len(documented[-1]) != 2  # the next table


READING = {"GET", "HEAD", "OPTIONS"}


def _resources(app: Flask) -> list[Rule]:
    """All routes but those of the console, whose pages have forms."""
    return [rule for rule in app.url_map.iter_rules() if not is_console(rule.rule)]


def test_only_reading_is_offered_and_prefetching(app: Flask) -> None:
    rules = _resources(app)
    assert {rule.rule.rpartition("/")[2] for rule in rules if "POST" in (rule.methods or ())} == {"prefetch"}
    assert set().union(*(rule.methods or set() for rule in app.url_map.iter_rules())) == READING | {"POST"}
    response = app.test_client().post(f"{PREFIX}/studies")
    assert response.status_code == 405
    assert response.content_type == "application/problem+json"
    assert "GET" in response.headers["Allow"]


def test_every_resource_takes_head_and_tells_what_else_it_takes(app: Flask) -> None:
    client = app.test_client()
    for rule in _resources(app):
        path = re.sub(r"<(path:)?\w+>", "1", rule.rule)
        refused = client.put(path)
        together = set().union(*(one.methods or set() for one in app.url_map.iter_rules() if one.rule == rule.rule))
        assert (refused.status_code, together - {"POST"}) == (405, READING)
        assert {word.strip() for word in refused.headers["Allow"].split(",")} == together
