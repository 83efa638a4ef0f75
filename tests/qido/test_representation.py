"""Search results in every media type that is offered (PS3.18 Section 10.6.4)."""

import csv
import io
from email import message_from_bytes
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from flask.testing import FlaskClient

from tests.qido.archive import ROOT

XML = 'multipart/related; type="application/dicom+xml"'


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/dicom+json"),
        ("", "application/dicom+json"),
        ("*/*", "application/dicom+json"),
        ("application/*", "application/dicom+json"),
        ("application/json", "application/json"),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", "application/dicom+json"),
        ("text/csv", "text/csv"),
        ("text/csv;q=0.5, application/dicom+json", "application/dicom+json"),
        (XML, "multipart/related"),
        ("multipart/related; type=application/dicom+xml", "multipart/related"),
        ("multipart/related", "multipart/related"),
    ],
)
def test_the_client_gets_what_it_takes(archive: FlaskClient, accept: str | None, media_type: str) -> None:
    response = archive.get("/aetitle/studies", headers={"Accept": accept} if accept is not None else {})
    assert (response.status_code, response.mimetype) == (200, media_type)
    assert "Accept" in response.vary


def test_the_parameter_comes_before_the_header(archive: FlaskClient) -> None:
    """PS3.18 Section 8.3.3.1."""
    url = f"/aetitle/studies?accept={quote(XML)}"
    assert archive.get(url, headers={"Accept": "application/dicom+json"}).mimetype == "multipart/related"
    assert archive.get("/aetitle/studies?accept=text/csv").mimetype == "text/csv"


@pytest.mark.parametrize("accept", ["image/jpeg", "application/dicom+xml", "application/dicom+json;q=0"])
def test_what_is_not_offered_is_406_with_what_is(archive: FlaskClient, accept: str) -> None:
    response = archive.get("/aetitle/studies", headers={"Accept": accept})
    assert response.status_code == 406
    assert all(offered in response.get_json()["detail"] for offered in ("application/dicom+json", XML, "text/csv"))
    assert archive.get("/aetitle/studies/1.9/series", headers={"Accept": accept}).status_code == 404


def xml_parts(archive: FlaskClient, resource: str) -> list[tuple[str | None, dict[str, str]]]:
    """For each part its location, and text by keyword."""
    response = archive.get(f"/aetitle/{resource}", headers={"Accept": XML})
    message = message_from_bytes(b"Content-Type: " + response.content_type.encode() + b"\r\n\r\n" + response.data)
    parts = message.get_payload()
    assert isinstance(parts, list)
    assert {part.get_content_type() for part in parts} == {"application/dicom+xml"}
    found = []
    for part in parts:
        document = ElementTree.fromstring(part.get_payload(decode=True))  # noqa: S314
        found.append((part["Content-Location"], {of.attrib["keyword"]: "".join(of.itertext()) for of in document}))
    return found


def test_xml_has_a_part_for_each_result(archive: FlaskClient) -> None:
    parts = xml_parts(archive, "studies?PatientName=do*&includefield=StudyDescription")
    assert [location for location, _ in parts] == [f"{ROOT}/studies/1.2.{n}" for n in (2, 1, 5)]
    assert parts[1][1]["StudyDescription"] == "Café Thorax"
    assert parts[1][1]["ModalitiesInStudy"] == "CTSR"
    assert [location for location, _ in xml_parts(archive, "patients")] == [None] * 5


def rows(archive: FlaskClient, resource: str) -> list[dict[str, str]]:
    response = archive.get(f"/aetitle/{resource}", headers={"Accept": "text/csv"})
    return list(csv.DictReader(io.StringIO(response.get_data(as_text=True))))


def test_csv_has_a_line_for_each_result(archive: FlaskClient) -> None:
    json = archive.get("/aetitle/studies").get_json(force=True)
    found = rows(archive, "studies")
    assert [row["StudyInstanceUID"] for row in found] == [result["0020000D"]["Value"][0] for result in json]
    assert found[1]["PatientName"] == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert found[2]["ModalitiesInStudy"] == "CT\\SR"
    assert found[4]["PatientName"] == ""
    assert found[2]["RetrieveURL"] == f"{ROOT}/studies/1.2.1"


def test_csv_has_the_same_columns_whatever_is_found(archive: FlaskClient) -> None:
    heads = [
        archive.get(f"/aetitle/instances?PatientID={of}&accept=text/csv").data.splitlines()[0] for of in ("P1", "P9")
    ]
    assert heads[0] == heads[1]
    assert b"NumberOfFrames" in heads[0]


def test_warnings_and_totals_come_with_every_representation(archive: FlaskClient) -> None:
    for accept in ("application/dicom+json", "text/csv", XML):
        response = archive.get("/aetitle/studies?limit=2&count=true", headers={"Accept": accept})
        assert "3 additional results" in response.headers["Warning"]
        assert response.headers["X-Total-Count"] == "5"
