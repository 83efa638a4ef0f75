"""AE titles: named in one setting, each below a root of its own."""

import json
from pathlib import Path
from urllib.parse import unquote

import pytest
from flask.testing import FlaskClient

from ahi.workers.pool import FetcherPool
from app.ae_titles import AeTitle, parse_ae_titles
from app.factory import create_app
from app.service_roots import ServiceRoot, service_roots
from app.services import Services
from app.settings import Settings
from db.scope import EVERYTHING, Scope
from qido.image_sets.row_filters import parse_filter
from tests.qido.archive import SAMPLE, write
from tests.servers import OpenDatabase, Sqlite

STORE = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
MR = parse_filter("Modality", ["MR"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", ()),
        ('{"all": {}}', (AeTitle("all", EVERYTHING),)),
        (f'{{"x": {{"datastores": "{STORE}"}}}}', (AeTitle("x", Scope(frozenset({STORE}))),)),
        (f'{{"x": {{"datastores": ["{STORE}", "{OTHER}"]}}}}', (AeTitle("x", Scope(frozenset({STORE, OTHER}))),)),
        ('{"x": {"filter": {"Modality": "MR"}}}', (AeTitle("x", Scope(None, (MR,))),)),
        ('{"x": {"filter": {"00080060": ["MR"]}}}', (AeTitle("x", Scope(None, (MR,))),)),
        ('{"x": {}, "Y.Z_1-2": {}}', (AeTitle("x", EVERYTHING), AeTitle("Y.Z_1-2", EVERYTHING))),
    ],
)
def test_each_member_is_an_ae_title(text: str, expected: tuple[AeTitle, ...]) -> None:
    assert parse_ae_titles(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("research=x", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"x": {}, "x": {}}', "has 'x' twice"),
        ('{"x": {"filter": {"Modality": "MR", "Modality": "CT"}}}', "has 'Modality' twice"),
        ('{"": {}}', "has a name"),
        ('{"..": {}}', "has a name"),
        ('{"a/b": {}}', "has a name"),
        ('{"abcdefghijklmnopq": {}}', "has a name"),
        ('{"x": []}', "has other members than datastores, filter and store for x"),
        ('{"x": {"filters": {}}}', "has other members than datastores, filter and store for x"),
        ('{"x": {"datastores": []}}', "has datastores that are not IDs"),
        ('{"x": {"datastores": null}}', "has datastores that are not IDs"),
        ('{"x": {"datastores": ["a b"]}}', "has datastores that are not IDs"),
        ('{"x": {"filter": ["Modality"]}}', "has a filter that is not an object"),
        ('{"x": {"filter": {"Modality": 1}}}', "has a wrong filter for x: Modality has no text"),
        ('{"x": {"filter": {"Modality": "*"}}}', "has a wrong filter for x: Modality has no text"),
        ('{"x": {"filter": {"Rows": "1"}}}', "has a wrong filter for x: Rows is not"),
        ('{"x": {"filter": {"0008006": "1"}}}', "has a wrong filter for x: 0008006 is not an attribute"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as error:
        parse_ae_titles(text)
    assert len(str(error.value).splitlines()) == 1


def test_the_default_shows_everything_unless_it_is_redefined() -> None:
    limited, other = Scope(frozenset({STORE})), AeTitle("x", EVERYTHING)
    assert service_roots((other,), dcm4chee_paths=False) == [
        ServiceRoot("/aetitle", EVERYTHING, "aetitle"),
        ServiceRoot("/x", EVERYTHING, "x"),
    ]
    assert service_roots((AeTitle("aetitle", limited),), dcm4chee_paths=True) == [
        ServiceRoot("/aetitle", limited, "aetitle", STORE),
        ServiceRoot("/dcm4chee-arc/aets/aetitle/rs", limited, "aetitle", STORE),
    ]


@pytest.fixture
def archive(sqlite: Sqlite, tmp_path: Path, open_database: OpenDatabase) -> FlaskClient:
    url = sqlite.new_index()
    write(url, SAMPLE)
    titles = json.dumps({"mr": {"filter": {"Modality": "MR"}}, "empty": {"datastores": [OTHER]}})
    settings = Settings(cache_root=tmp_path, ae_titles=parse_ae_titles(titles), dcm4chee_paths=True)
    return create_app(Services.of(settings, open_database(url), FetcherPool([]))).test_client()


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/aetitle", 5),
        ("/mr", 1),
        ("/empty", 0),
        ("/dcm4chee-arc/aets/aetitle/rs", 5),
        ("/dcm4chee-arc/aets/mr/rs", 1),
    ],
)
def test_each_root_shows_its_own_and_says_so_in_urls(archive: FlaskClient, path: str, number: int) -> None:
    found = archive.get(f"{path}/studies").get_json(force=True)
    assert len(found) == number
    assert archive.get(f"{path}/studies/count").get_json()["count"] == number
    urls = [result["00081190"]["Value"][0] for result in found]
    assert all(url.startswith(f"http://localhost{path}/studies/") for url in urls)


@pytest.mark.parametrize(
    "path", ["/unknown", "/MR", "/", "", "/mr%2F..", "/dcm4chee-arc/aets/unknown/rs", "/aetitle.mr"]
)
def test_an_unknown_ae_title_is_404(archive: FlaskClient, path: str) -> None:
    response = archive.get("/", environ_overrides={"PATH_INFO": unquote(f"{path}/studies")})  # `//x` as URL is a host
    assert (response.status_code, response.content_type) == (404, "application/problem+json")


def test_the_paths_of_dcm4chee_are_not_there_unless_wanted(
    sqlite: Sqlite, tmp_path: Path, open_database: OpenDatabase
) -> None:
    app = create_app(Services.of(Settings(cache_root=tmp_path), open_database(sqlite.new_index()), FetcherPool([])))
    assert app.test_client().get("/dcm4chee-arc/aets/aetitle/rs/studies").status_code == 404
