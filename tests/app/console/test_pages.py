"""Work list, study, series and share links, as a browser without scripts gets them."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from ahi.workers.pool import FetcherPool
from app.ae_titles import parse_ae_titles
from app.factory import create_app
from app.middleware.warnings import UNCHECKED
from app.request_state import note_unchecked, note_unreadable
from app.services import Services
from app.settings import Settings
from db.engine import Database
from dicomweb.errors import NotFound
from tests.app.auth.users import ANNA, write_users
from tests.app.console.conftest import Clients
from tests.qido.archive import Series, Study, write
from tests.servers import Sqlite

BROWSER = {"Accept": "text/html"}
STUDY = "/console/aetitle/studies/1.2.1"
EVIL = "</td><script>document.title='owned'</script>\"'><img src=x onerror=alert(1)>{{7*7}}"


class _Page(HTMLParser):
    """Collects the elements of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def parsed(text: str) -> _Page:
    page = _Page()
    page.feed(text)
    return page


def opened(text: str) -> list[str]:
    """The studies of a work list, by their links."""
    return re.findall(r'<a class="open" href="([^"]*)"', text)


def test_the_work_list_has_the_newest_study_first(client_of: Clients) -> None:
    answer = client_of().get("/console/", headers=BROWSER)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert opened(answer.text) == [f"/console/aetitle/studies/1.2.{number}" for number in (2, 4, 1, 5, 3)]
    page = parsed(answer.text)
    assert "Studies 1 to 5 of 5" in page.text and "Yamada, Tarou 山田 太郎" in page.text
    assert "/aetitle/studies/1.2.1/thumbnail?viewport=112,112" in [image["src"] for image in page.all("img")]


def test_htmx_gets_the_table_alone(client_of: Clients) -> None:
    client = client_of()
    answer = client.get("/console/?q=doe&page=1&name=", headers={**BROWSER, "HX-Request": "true"})
    assert "<html" not in answer.text and len(opened(answer.text)) == 2
    assert answer.headers["HX-Push-Url"] == "/console/?q=doe"
    assert "HX-Request" in answer.headers["Vary"]
    assert "<html" in client.get("/console/?q=doe", headers=BROWSER).text


def test_what_cannot_be_searched_for_is_said_in_words(client_of: Clients) -> None:
    client = client_of()
    answer = client.get("/console/?birth=soon", headers=BROWSER)
    assert (answer.status_code, "the birth date is not a date" in answer.text) == (400, True)
    assert client.get("/console/?birth=soon", headers={**BROWSER, "HX-Request": "true"}).status_code == 200


def test_the_list_can_do_without_pictures(client_of: Clients) -> None:
    text = client_of().get("/console/?pictures=none", headers=BROWSER).text
    assert "/thumbnail" not in text and len(opened(text)) == 5
    assert "/console/?sort=name&amp;pictures=none" in text


@pytest.mark.parametrize("path", ["/console/", STUDY, f"{STUDY}/series/1.2.1.1"])
def test_warnings_of_the_api_are_said_in_words(client_of: Clients, path: str) -> None:
    client = client_of()

    @client.application.before_request
    def note() -> None:
        note_unchecked()
        note_unreadable([NotFound("<b>gone</b>")])

    answer = client.get(path, headers=BROWSER)
    assert UNCHECKED in answer.text and "1 image sets: &lt;b&gt;gone&lt;/b&gt;" in answer.text
    assert len(answer.headers.getlist("Warning")) == 2


def test_nothing_found_is_not_an_empty_archive(client_of: Clients) -> None:
    assert "No study fits" in client_of().get("/console/?q=zebra", headers=BROWSER).text


def test_an_empty_archive_says_what_to_do(sqlite: Sqlite, tmp_path: Path) -> None:
    database = Database(sqlite.new_index())
    client = create_app(Services.of(Settings(cache_root=tmp_path), database, FetcherPool([]))).test_client()
    text = client.get("/console/", headers=BROWSER).text
    database.close()
    assert "There are no studies here yet" in text and "python main.py index" in text


def test_the_list_shows_what_the_api_shows(client_of: Clients, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text('[{"name": "anna", "ae_titles": ["research"], "filter": {"Modality": "CT"}}]')
    titles = parse_ae_titles('{"research": {}, "other": {}}')
    settings = {"auth": ("basic",), "auth_users_file": write_users(tmp_path), "access_rules": rules}
    client = client_of(ae_titles=titles, **settings)
    assert client.get("/console/", headers=BROWSER).location == "/console/login?next=%2Fconsole"
    answer = client.get("/console/", headers={**BROWSER, **ANNA})
    assert opened(answer.text) == ["/console/research/studies/1.2.4", "/console/research/studies/1.2.1"]
    for path in ("/console/?root=aetitle", "/console/other/studies/1.2.1", "/console/aetitle/studies/1.2.1"):
        assert client.get(path, headers={**BROWSER, **ANNA}).status_code == 403
    assert client.get("/console/research/studies/1.2.2", headers={**BROWSER, **ANNA}).status_code == 404
    assert client.get("/console/upload", headers={**BROWSER, **ANNA}).status_code == 403
    assert "Upload" not in parsed(answer.text).text


def test_every_ae_title_of_the_caller_can_be_chosen(client_of: Clients) -> None:
    client = client_of(ae_titles=parse_ae_titles('{"ct": {"filter": {"Modality": "CT"}}}'))
    answer = client.get("/console/?root=ct&modality=CT", headers=BROWSER)
    assert opened(answer.text) == ["/console/ct/studies/1.2.4", "/console/ct/studies/1.2.1"]
    assert '<option value="ct" selected>' in answer.text
    assert "/console/?root=ct&amp;sort=name" in client.get("/console/?root=ct", headers=BROWSER).text


def test_a_study_has_its_head_and_series(client_of: Clients) -> None:
    answer = client_of().get(STUDY, headers=BROWSER)
    page = parsed(answer.text)
    links = [str(link.get("href")) for link in page.all("a")]
    assert answer.status_code == 200 and "Doe, John" in page.text and "Report 50%_done" in page.text
    assert [link for link in links if "/series/" in link] == [f"{STUDY}/series/1.2.1.1", f"{STUDY}/series/1.2.1.2"]
    assert "/aetitle/studies/1.2.1?accept=application/zip" in links
    assert "/console/aetitle/look/1.2.1" in links
    (weasis,) = [link for link in links if link.startswith("weasis:")]
    assert weasis.startswith("weasis://%24dicom%3Ars%20--url%20%22http%3A%2F%2F") and " " not in weasis
    values = [field.get("value") for field in page.all("input")]
    assert "http://localhost/aetitle/studies/1.2.1" in values


def test_a_series_has_its_instances_page_by_page(client_of: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.console.study_parts.INSTANCES_PER_PAGE", 2)
    client = client_of()
    pages = [client.get(f"{STUDY}/series/1.2.1.1?page={number}", headers=BROWSER).text for number in (1, 2)]
    found = [re.findall(r'href="[^"]*/instances/([^"/]*)"', page) for page in pages]
    assert found == [["1.2.1.1.1", "1.2.1.1.3"], ["1.2.1.1.2"]]
    assert 'rel="next"' in pages[0] and 'rel="next"' not in pages[1] and 'rel="prev"' in pages[1]
    assert "CT Image Storage · 512 × 512" in parsed(pages[0]).text  # noqa: RUF001 - the sign of multiplication


@pytest.mark.parametrize("path", ["/console/aetitle/studies/9.9", f"{STUDY}/series/9", f"{STUDY}/series/1.2.2.1"])
def test_what_is_not_there_is_not_found(client_of: Clients, path: str) -> None:
    assert client_of().get(path, headers=BROWSER).status_code == 404


@pytest.fixture
def evil(sqlite: Sqlite, tmp_path: Path) -> Iterator[FlaskClient]:
    """A console whose index has markup in every text that it can have it in."""
    url = sqlite.new_index()
    patient = {"patientid": EVIL[:64], "patientname": EVIL[:60]}
    study = {"accessionnumber": "<b>1</b>", "studyid": "<i>2</i>", "studydescription": EVIL[:64]}
    series = {"modality": "<u>CT</u>", "seriesnumber": "1", "seriesdescription": EVIL[:64], "protocolname": EVIL[:64]}
    instance = {"sopinstanceuid": "1.2.<b>3", "sopclassuid": "<script>", "instancenumber": 1}
    write(url, [Study('1.2."><script>', patient, study, (Series("1.2.'<img>", series, (instance,)),))])
    database = Database(url)
    yield create_app(Services.of(Settings(cache_root=tmp_path), database, FetcherPool([]))).test_client()
    database.close()


def test_markup_in_values_is_text(evil: FlaskClient) -> None:
    work_list = evil.get("/console/", headers=BROWSER)
    (study,) = {str(link["href"]) for link in parsed(work_list.text).all("a") if link.get("class") == "open"}
    study_page = evil.get(study, headers=BROWSER)
    (series,) = {str(link["href"]) for link in parsed(study_page.text).all("a") if "/series/" in str(link.get("href"))}
    series_page = evil.get(series, headers=BROWSER)
    for answer in (work_list, study_page, series_page):
        page = parsed(answer.text)
        assert answer.status_code == 200 and EVIL[:20] in page.text
        assert not [one for one in page.all("script") if "/static/" not in str(one.get("src"))]
        assert not [name for _, one in page.elements for name in one if name.startswith("on")]
        assert not {"b", "i", "u"} & {tag for tag, _ in page.elements}


def _form_fields(text: str) -> dict[str, str]:
    return {str(field["name"]): str(field["value"]) for field in parsed(text).all("input") if "name" in field}


def test_a_share_link_opens_the_study_and_nothing_else(client_of: Clients) -> None:
    client = client_of(link_secret="s" * 40)
    fields = _form_fields(client.get(STUDY, headers=BROWSER).text)
    assert client.post(f"{STUDY}/link", data={"hours": "24"}, headers=BROWSER).status_code == 403
    made = client.post(f"{STUDY}/link", data={**fields, "hours": "24"}, headers=BROWSER)
    page, root, *_ = [str(field["value"]) for field in parsed(made.text).all("input") if "/link/" in str(field)]
    assert made.status_code == 200 and "It ends at" in made.text
    assert page == f"http://localhost/console{root.removeprefix('http://localhost')}/studies/1.2.1"
    stranger = client.application.test_client()
    assert "Doe, John" in stranger.get(page, headers=BROWSER).text
    assert len(stranger.get(f"{root}/studies").get_json()) == 1
    assert stranger.get(page.replace("1.2.1", "1.2.2"), headers=BROWSER).status_code == 404
    assert stranger.post(f"{page}/link", data={**fields, "hours": "24"}, headers=BROWSER).status_code == 403


@pytest.mark.parametrize("hours", ["", "2", "-1", "nan", "999999"])
def test_a_link_lasts_as_long_as_the_form_offers(client_of: Clients, hours: str) -> None:
    client = client_of(link_secret="s" * 40)
    fields = _form_fields(client.get(STUDY, headers=BROWSER).text)
    assert client.post(f"{STUDY}/link", data={**fields, "hours": hours}, headers=BROWSER).status_code == 400


def test_without_a_secret_there_is_no_form_for_a_link(client_of: Clients) -> None:
    client = client_of()
    page = client.get(STUDY, headers=BROWSER)
    assert "Share link" not in page.text
    fields = _form_fields(client.get(STUDY, headers=BROWSER).text)
    assert client.post(f"{STUDY}/link", data={**fields, "hours": "24"}, headers=BROWSER).status_code in (403, 404)


@pytest.mark.parametrize(
    ("rule", "shares"),
    [
        ('{"name": "anna", "rights": ["read", "share"]}', True),
        ('{"name": "anna", "rights": ["read"]}', False),
        ('{"name": "anna", "rights": ["read", "share"], "filter": {"PatientID": "P1"}}', True),
        ('{"name": "anna", "rights": ["read", "share"], "filter": {"Modality": "CT"}}', False),
    ],
    ids=["all", "reads only", "one patient", "some series"],
)
def test_who_has_the_right_shares_what_they_see_whole(
    client_of: Clients, tmp_path: Path, rule: str, shares: bool
) -> None:
    (tmp_path / "rules.json").write_text(f"[{rule}]")
    client = client_of(
        link_secret="s" * 40,
        auth=("basic",),
        auth_users_file=write_users(tmp_path),
        access_rules=tmp_path / "rules.json",
    )
    headers = {**BROWSER, **ANNA}
    page = client.get(STUDY, headers=headers)
    assert page.status_code == 200 and ("Share link" in page.text) == shares
    token = re.findall(r'"X-CSRF-Token": "(\w+)"', page.text)[0]
    made = client.post(f"{STUDY}/link", data={"hours": "1", "csrf": token}, headers=headers)
    assert made.status_code == (200 if shares else 403)
