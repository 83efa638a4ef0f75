"""Search results in every media type that is offered (PS3.18 Section 10.6.4)."""

import csv
import gzip
import io
import tracemalloc
from collections.abc import Callable
from email import message_from_bytes
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from backports import zstd
from flask.testing import FlaskClient

from db.engine import Database
from tests.qido.archive import ROOT, Series, Study, client, image, write

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
    parts: Any = message.get_payload()
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


SEARCHES = [
    ("studies", "application/dicom+json"),
    ("studies", "application/json"),
    ("studies", XML),
    ("studies", "text/csv"),
    ("studies/1.2.1/instances?limit=1", "application/dicom+json"),
    ("studies?PatientID=P9", "application/dicom+json"),
    ("studies/count", "*/*"),
]


@pytest.mark.parametrize(("resource", "accept"), SEARCHES)
def test_what_was_found_before_is_not_sent_again(archive: FlaskClient, resource: str, accept: str) -> None:
    """RFC 9110 Sections 8.8.3 and 13.1.2: strong tags, and equal ones mean equal bytes."""
    first = archive.get(f"/aetitle/{resource}", headers={"Accept": accept})
    tag = first.headers["ETag"]
    assert tag.startswith('"')
    again = archive.get(f"/aetitle/{resource}", headers={"Accept": accept})
    assert (again.headers["ETag"], again.data) == (tag, first.data)
    known = archive.get(f"/aetitle/{resource}", headers={"Accept": accept, "If-None-Match": f"W/{tag}"})
    assert (known.status_code, known.data, known.headers["ETag"]) == (304, b"", tag)
    for response in (first, known):
        assert response.headers["Cache-Control"] == "private, no-cache"
        assert {"Accept", "Accept-Encoding"} <= set(response.vary)
        assert response.headers.get("Warning") == first.headers.get("Warning")


def test_each_answer_has_a_tag_of_its_own(archive: FlaskClient) -> None:
    answers = [
        archive.get(f"/aetitle/{resource}", headers={"Accept": accept, "Accept-Encoding": coding})
        for resource, accept in SEARCHES
        for coding in ("gzip", "zstd", "identity")
    ]
    tags = {answer.headers["ETag"] for answer in answers}
    assert len(tags) == len({(answer.content_type, answer.data) for answer in answers}) > len(SEARCHES)


@pytest.mark.parametrize("accept", ["application/dicom+json", XML, "text/csv"])
@pytest.mark.parametrize(("coding", "read"), [("gzip", gzip.decompress), ("zstd", zstd.decompress)])
def test_results_are_compressed_for_who_takes_it(
    archive: FlaskClient, accept: str, coding: str, read: Callable[[bytes], bytes]
) -> None:
    plain = archive.get("/aetitle/studies?includefield=all", headers={"Accept": accept})
    headers = {"Accept": accept, "Accept-Encoding": f"br;q=1, {coding};q=0.9"}
    squeezed = archive.get("/aetitle/studies?includefield=all", headers=headers)
    assert "Content-Encoding" not in plain.headers
    assert squeezed.headers["Content-Encoding"] == coding
    assert squeezed.content_type == plain.content_type
    assert read(squeezed.data) == plain.data
    assert squeezed.content_length == len(squeezed.data) < len(plain.data) == plain.content_length


def test_what_is_small_is_not_compressed(archive: FlaskClient) -> None:
    response = archive.get("/aetitle/studies?PatientID=P9", headers={"Accept-Encoding": "gzip"})
    assert (response.data, response.headers.get("Content-Encoding")) == (b"[]", None)


def test_a_head_is_that_of_its_get(archive: FlaskClient) -> None:
    got, head = archive.get("/aetitle/studies"), archive.head("/aetitle/studies")
    assert head.data == b""
    assert {name: head.headers[name] for name in ("ETag", "Content-Length", "Content-Type")} == {
        name: got.headers[name] for name in ("ETag", "Content-Length", "Content-Type")
    }


@pytest.mark.slow
def test_results_are_held_once_as_text_whatever_their_number(new_tables: Callable[[], str]) -> None:
    """A page of thousands is never there as data sets and as text at the same time, and never joined."""
    url = new_tables()
    instances = tuple(image(f"1.1.1.{n}", n, rows=512, columns=512) for n in range(2000))
    write(url, [Study("1.1", {"patientid": "P"}, {}, (Series("1.1.1", {"modality": "CT"}, instances),))])
    database = Database(url)
    peaks = {}
    for limit in (0, 2000):
        tracemalloc.start()
        response = client(database, max_results=2000).get(f"/aetitle/instances?includefield=all&limit={limit}")
        peaks[limit] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    database.close()
    assert response.content_length is not None
    assert peaks[2000] - peaks[0] < 8 * response.content_length
