"""What is no image is rendered as a client can read it: reports, documents, waveforms (PS3.18 Section 8.7.4)."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import requests
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    BasicTextSRStorage,
    EncapsulatedCDAStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

from tests.pydicom_files import pydicom_file
from tests.service.process import ROOT, Service
from tests.wado.rendering.made import code, content, made

PDF = b"%PDF-1.4 a document\n"
CDA = b'<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"/>'
SCRIPT = "<script>alert(1)</script>"
ACTIVE = (
    *("text/html", "image/svg+xml", "text/xml", "application/xml", "application/xhtml+xml", "text/javascript"),
    *("application/javascript", "multipart/x-mixed-replace", "message/rfc822", "image/x+xml", "application/x-anything"),
)
"""What a browser would run, or may learn to."""


Ask = Callable[..., requests.Response]


def report() -> Dataset:
    return made(
        SOPClassUID=BasicTextSRStorage,
        Modality="SR",
        SpecificCharacterSet="ISO_IR 100",
        PatientName="Müller^Jörg",
        ConceptNameCodeSequence=[code("Chest Report")],
        ContentSequence=[content("TEXT", "Finding", TextValue=f"Größe {SCRIPT}")],
    )


def objects() -> dict[str, Dataset]:
    pdf = made(SOPClassUID=EncapsulatedPDFStorage, MIMETypeOfEncapsulatedDocument="application/pdf")
    pdf.EncapsulatedDocument = PDF
    cda = made(SOPClassUID=EncapsulatedCDAStorage, MIMETypeOfEncapsulatedDocument="text/XML")
    cda.EncapsulatedDocument = CDA + b"\0" * (len(CDA) % 2)
    pages = {}
    for media_type in ACTIVE:
        pages[media_type.replace("/", " ")] = page = made(SOPClassUID=EncapsulatedCDAStorage)
        page.MIMETypeOfEncapsulatedDocument, page.EncapsulatedDocument = media_type, SCRIPT.encode() + b" "
    return {
        **pages,
        "report": report(),
        "pdf": pdf,
        "cda": cda,
        "ecg": pydicom_file("waveform_ecg.dcm"),
        "plan": pydicom_file("rtplan.dcm"),
    }


@pytest.fixture(scope="module")
def studies() -> dict[str, Dataset]:
    """The objects by name, each in a study of its own."""
    made_objects = objects()
    for data_set in made_objects.values():
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(data_set, keyword, generate_uid())
        data_set.PatientID = "1"
    return made_objects


@pytest.fixture(scope="module")
def service(studies: dict[str, Dataset], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that holds them."""
    folder, root = tmp_path_factory.mktemp("objects"), tmp_path_factory.mktemp("objects-store")
    for name, data_set in studies.items():
        _write(data_set, folder / f"{name}.dcm")
    environment = {**os.environ, "DATASTORE_ROOT": str(root)}
    subprocess.run([sys.executable, "main.py", "import", str(folder)], cwd=ROOT, env=environment, check=True)
    service = Service(tmp_path_factory.mktemp("objects-service"), {"DATASTORE_ROOT": str(root)})
    yield service
    service.stop()


def _write(data_set: Dataset, path: Path) -> None:
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def get(service: Service, studies: dict[str, Dataset]) -> Ask:
    """Asks for the rendered form of an object by its name."""

    def ask(name: str, accept: str = "*/*", level: str = "instance", **headers: str) -> requests.Response:
        data_set = studies[name]
        path = f"{service.root}/studies/{data_set.StudyInstanceUID}"
        if level != "study":
            path += f"/series/{data_set.SeriesInstanceUID}"
        if level == "instance":
            path += f"/instances/{data_set.SOPInstanceUID}"
        return requests.get(f"{path}/rendered", headers={"Accept": accept, **headers}, timeout=60)

    return ask


@pytest.fixture(scope="module")
def by_uri(service: Service, studies: dict[str, Dataset]) -> Ask:
    """Asks the URI service for an object by its name."""

    def ask(name: str, headers: dict[str, str] | None = None, **parameters: str) -> requests.Response:
        names = {"studyUID": "StudyInstanceUID", "seriesUID": "SeriesInstanceUID", "objectUID": "SOPInstanceUID"}
        uids = {name_: str(studies[name][keyword].value) for name_, keyword in names.items()}
        query = {"requestType": "WADO", **uids, **parameters}
        return requests.get(f"{service.root}/wado", query, headers=headers or {}, timeout=60)

    return ask


@pytest.mark.parametrize(
    ("name", "accept", "media_type"),
    [
        ("report", "*/*", "text/html; charset=utf-8"),
        ("report", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("report", "text/plain", "text/plain; charset=utf-8"),
        ("pdf", "*/*", "application/pdf"),
        ("pdf", "application/pdf", "application/pdf"),
        ("cda", "text/xml", "text/xml"),
        ("ecg", "*/*", "image/svg+xml"),
        ("ecg", "image/jpeg", "image/jpeg"),
        ("ecg", "image/png", "image/png"),
    ],
)
def test_an_object_comes_as_the_type_that_is_accepted(get: Ask, name: str, accept: str, media_type: str) -> None:
    answer = get(name, accept)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, media_type), answer.text[:300]
    assert get(name, accept, **{"If-None-Match": answer.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize(
    ("name", "accept"),
    [
        ("report", "image/jpeg"),
        ("pdf", "text/html"),
        ("ecg", "text/html"),
        ("plan", "*/*"),
    ],
)
def test_what_an_object_cannot_be_rendered_as_is_406(get: Ask, name: str, accept: str) -> None:
    assert get(name, accept).status_code == 406


@pytest.mark.parametrize("level", ["study", "series"])
def test_a_study_of_a_report_alone_is_rendered_as_the_report(get: Ask, level: str) -> None:
    assert get("report", level=level).content == get("report").content


def test_a_report_is_read_in_its_character_set_and_runs_nothing(get: Ask) -> None:
    answer = get("report")
    assert "Müller, Jörg" in answer.text and "Größe &lt;script&gt;" in answer.text
    assert SCRIPT not in answer.text
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert f"Größe {SCRIPT}" in get("report", "text/plain").text


@pytest.mark.parametrize(
    ("content_type", "answered"),
    [
        ("", "text/html; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
        ("image/jpeg,text/plain", "text/plain; charset=utf-8"),
        ("application/dicom", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
    ],
)
def test_the_uri_service_has_the_same_reports(get: Ask, by_uri: Ask, content_type: str, answered: str) -> None:
    answer = by_uri("report", contentType=content_type)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, answered)
    if content_type != "application/dicom":
        same = get("report", answered.partition(";")[0])
        assert answer.content == same.content
        assert answer.headers.get("Content-Security-Policy") == same.headers.get("Content-Security-Policy")
    known = by_uri("report", {"If-None-Match": answer.headers["ETag"]}, contentType=content_type)
    assert known.status_code == 304


@pytest.mark.parametrize(
    ("name", "content_type", "answered"),
    [
        ("pdf", "application/pdf", "application/pdf"),
        ("cda", "text/xml", "text/xml"),
        ("ecg", "image/svg+xml", "image/svg+xml"),
        ("ecg", "image/png", "image/png"),
        ("ecg", "", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
        ("plan", "", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
    ],
)
def test_the_uri_service_has_what_else_is_rendered(by_uri: Ask, name: str, content_type: str, answered: str) -> None:
    answer = by_uri(name, contentType=content_type)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, answered)
    policy = answer.headers.get("Content-Security-Policy", "")
    assert ("sandbox" in policy) == (content_type in ("text/xml", "image/svg+xml"))
    assert ("Content-Disposition" in answer.headers) == (content_type == "text/xml")


@pytest.mark.parametrize("name", ["pdf", "plan", "report"])
def test_what_the_uri_service_cannot_render_is_406(by_uri: Ask, name: str) -> None:
    assert by_uri(name, contentType="image/jpeg").status_code == 406


def test_text_comes_in_the_charset_that_is_named(
    get: Ask, by_uri: Ask, service: Service, studies: dict[str, Dataset]
) -> None:
    latin = by_uri("report", contentType="text/plain", charset="ISO_IR 100")
    assert latin.headers["Content-Type"] == "text/plain; charset=iso-8859-1"
    assert latin.content.decode("iso-8859-1") == get("report", "text/plain").text
    assert by_uri("report", contentType="text/plain", charset="us-ascii").status_code == 406
    assert by_uri("report", contentType="text/plain", charset="klingon").status_code == 406
    assert by_uri("report", contentType="application/dicom", charset="klingon").status_code == 200
    study = f"{service.root}/studies/{studies['report'].StudyInstanceUID}"
    same = requests.get(f"{study}/rendered?charset=ISO_IR%20100", headers={"Accept": "text/plain"}, timeout=60)
    assert same.content == latin.content
    assert latin.headers["ETag"] != by_uri("report", contentType="text/plain").headers["ETag"]


def test_documents_are_what_was_encapsulated(get: Ask) -> None:
    assert get("pdf").content == PDF
    assert get("cda").content == CDA
    check_is_kept_from_running(get("cda"))
    shown = [get(name) for name in ("pdf", "report", "ecg")]
    assert not any("Content-Disposition" in answer.headers for answer in shown)


def check_is_kept_from_running(answer: requests.Response) -> None:
    assert answer.status_code in (200, 206), answer.text
    assert answer.headers["Content-Disposition"] == "attachment"
    assert "sandbox" in answer.headers["Content-Security-Policy"].split("; ")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("media_type", ACTIVE)
def test_a_stored_page_runs_nowhere(
    service: Service, studies: dict[str, Dataset], by_uri: Ask, media_type: str
) -> None:
    name = media_type.replace("/", " ")
    data_set = studies[name]
    path = f"{service.root}/studies/{data_set.StudyInstanceUID}/series/{data_set.SeriesInstanceUID}"
    path += f"/instances/{data_set.SOPInstanceUID}/bulkdata/00420011"
    whole = requests.get(path, headers={"Accept": media_type}, timeout=60)
    part = requests.get(path, headers={"Accept": media_type, "Range": "bytes=0-7"}, timeout=60)
    for answer in (whole, part, by_uri(name, contentType=media_type)):
        check_is_kept_from_running(answer)
        assert answer.headers["Content-Type"].startswith(media_type)
    assert (whole.content, part.content) == (SCRIPT.encode() + b" ", b"<script>")
    known = requests.get(path, headers={"Accept": media_type, "If-None-Match": whole.headers["ETag"]}, timeout=60)
    assert known.status_code == 304
    assert "Content-Security-Policy" not in known.headers  # it would take the place of what the browser has kept


@pytest.mark.parametrize(
    ("form", "query", "size"),
    [
        ("png", "viewport=300,", (300, None)),
        ("jpeg", "viewport=300,200", (None, 200)),
        ("png", "viewport=100,100,0,0,500,500", (100, 100)),
        ("jpeg", "viewport=,50,10,10,400,-200", (100, 50)),
    ],
)
def test_a_drawing_fits_the_viewport(
    service: Service, studies: dict[str, Dataset], form: str, query: str, size: tuple[int | None, int | None]
) -> None:
    url = f"{service.root}/studies/{studies['ecg'].StudyInstanceUID}/rendered?{query}"
    image = Image.open(BytesIO(requests.get(url, headers={"Accept": f"image/{form}"}, timeout=60).content))
    assert all(wanted in (None, side) for wanted, side in zip(size, image.size, strict=True))
    assert image.width <= 300 and image.height <= 600
    assert np.asarray(image.convert("L")).std() > 1


def test_quality_and_viewport_count_for_pixels_only(service: Service, studies: dict[str, Dataset]) -> None:
    root = f"{service.root}/studies/{studies['ecg'].StudyInstanceUID}/rendered"

    def ask(accept: str, query: str) -> requests.Response:
        return requests.get(f"{root}?{query}", headers={"Accept": accept}, timeout=60)

    worst, usual, best = (len(ask("image/jpeg", query).content) for query in ("quality=5", "", "quality=100"))
    assert worst < usual / 2 < best / 4
    assert ask("image/svg+xml", "viewport=10,10&quality=1").content == ask("image/svg+xml", "").content
    assert ask("image/png", "viewport=9,9,9000,9000").status_code == 400


def test_an_ecg_is_a_drawing_in_every_form(get: Ask) -> None:
    tree = ElementTree.fromstring(get("ecg").content)  # noqa: S314 - our own
    assert {"I", "aVR", "V6"} <= {element.text for element in tree.iter()}
    for form in ("png", "jpeg"):
        image = Image.open(BytesIO(get("ecg", f"image/{form}").content))
        assert image.width > 1500 and image.height > 2000
