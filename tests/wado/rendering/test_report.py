"""Structured reports and key objects become readable text and safe pages (PS3.3 Section C.17.3)."""

import html
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from pydicom import Dataset
from pydicom.uid import BasicTextSRStorage, CTImageStorage, KeyObjectSelectionDocumentStorage

from tests.growth import grows_linearly
from tests.pydicom_files import pydicom_file
from tests.wado.rendering.made import code, content, made, nested, through
from wado.rendering.report import MAX_DEPTH, Content, Report
from wado.rendering.report_html import encode_html
from wado.rendering.report_text import encode_text
from wado.rendering.values import parse_head

ROOT = "http://host/aetitle"


def report(*contents: Dataset, **attributes: object) -> Report:
    """A report with these content items, read as a fetcher reads it."""
    title = [code("Finding")]
    data_set = made(SOPClassUID=BasicTextSRStorage, ConceptNameCodeSequence=title, ValueType="CONTAINER", **attributes)
    data_set.ContentSequence = list(contents)
    return Report.from_data_set(through(data_set))


def measured(value: str, unit: Dataset) -> list[Dataset]:
    return [made(NumericValue=value, MeasurementUnitsCodeSequence=[unit])]


MM = code("millimeter", "mm", "UCUM")
ONE = code("no units", "1", "UCUM")
LONG_UNIT = code("minimum inhibitory units", "{long unit}", "UCUM")


@pytest.mark.parametrize(
    ("item", "value"),
    [
        pytest.param(content("TEXT", TextValue="one\r\ntwo\x07"), "one\ntwo", id="TEXT"),
        pytest.param(content("NUM", MeasuredValueSequence=measured("3.5", MM)), "3.5 mm", id="NUM"),
        pytest.param(content("NUM", MeasuredValueSequence=measured("7", ONE)), "7", id="NUM without a unit"),
        pytest.param(
            content("NUM", MeasuredValueSequence=measured("7", LONG_UNIT)), "7 minimum inhibitory units", id="NUM, unit"
        ),
        pytest.param(
            content("NUM", MeasuredValueSequence=[], NumericValueQualifierCodeSequence=[code("Not a number")]),
            "Not a number",
            id="NUM without a value",
        ),
        pytest.param(content("CODE", ConceptCodeSequence=[code("Mass")]), "Mass", id="CODE"),
        pytest.param(content("CODE", ConceptCodeSequence=[made(CodeValue="M-1")]), "M-1", id="CODE without meaning"),
        pytest.param(content("DATE", Date="20240131"), "2024-01-31", id="DATE"),
        pytest.param(content("TIME", Time="134559.500"), "13:45:59.500", id="TIME"),
        pytest.param(content("DATETIME", DateTime="20240131134559+0100"), "2024-01-31 13:45:59 +0100", id="DATETIME"),
        pytest.param(content("UIDREF", UID="1.2.3"), "1.2.3", id="UIDREF"),
        pytest.param(content("PNAME", PersonName="Doe^Ann^B^Dr^MD"), "Doe, Dr Ann B, MD", id="PNAME"),
        pytest.param(
            content("PNAME", PersonName="Yamada^Tarou=山田^太郎"), "Yamada, Tarou (山田, 太郎)", id="PNAME, kanji"
        ),
        pytest.param(
            content("SCOORD", GraphicType="POLYLINE", GraphicData=[1, 2, 3, 4]), "polyline of 2 points", id="SCOORD"
        ),
        pytest.param(
            content("SCOORD3D", GraphicType="POINT", GraphicData=[1, 2, 3]), "point of 1 point", id="SCOORD3D"
        ),
        pytest.param(
            content("TCOORD", TemporalRangeType="SEGMENT", ReferencedTimeOffsets=["1", "2.5"]),
            "segment at 1, 2.5 s",
            id="TCOORD",
        ),
        pytest.param(made(ReferencedContentItemIdentifier=[1, 3, 2]), "see item 1.3.2", id="by reference"),
        pytest.param(content("NEWKIND"), "", id="unknown"),
    ],
)
def test_a_content_item_is_read_as_its_value_type_says(item: Dataset, value: str) -> None:
    item.ConceptNameCodeSequence = [code("Concept")]
    (read,) = report(item, SpecificCharacterSet="ISO_IR 192").contents
    assert (read.name, read.value) == ("Concept", value)


def test_text_is_read_in_its_own_character_set() -> None:
    german = made(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg", SOPClassUID=BasicTextSRStorage)
    german.ContentSequence = [content("TEXT", TextValue="Größe")]
    read = Report.from_data_set(through(german))
    assert ("Patient", "Müller, Jörg") in read.facts
    assert read.contents[0].value == "Größe"
    assert "Größe" in encode_html(read, ROOT).decode() and "Müller, Jörg" in encode_text(read, ROOT).decode()


def evidence() -> list[Dataset]:
    one = made(ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID="1.2.3")
    return [
        made(
            StudyInstanceUID="1",
            ReferencedSeriesSequence=[made(SeriesInstanceUID="1.2", ReferencedSOPSequence=[one])],
        )
    ]


def image(uid: str, **attributes: object) -> Dataset:
    reference = made(ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID=uid, **attributes)
    return content("IMAGE", "Source", ReferencedSOPSequence=[reference])


def test_images_are_links_to_their_pictures_and_objects() -> None:
    read = report(image("1.2.3"), CurrentRequestedProcedureEvidenceSequence=evidence())
    path = f"{ROOT}/studies/1/series/1.2/instances/1.2.3"
    page = encode_html(read, ROOT).decode()
    assert f'<a href="{path}/rendered">CT Image</a> (<a href="{path}">DICOM</a>)' in page
    assert f"[CT Image] {path}/rendered" in encode_text(read, ROOT).decode()


def test_frames_that_are_meant_are_what_is_linked() -> None:
    frames = image("1.2.3", ReferencedFrameNumber=[5, 7])
    page = encode_html(report(frames, PertinentOtherEvidenceSequence=evidence()), ROOT).decode()
    assert '/instances/1.2.3/frames/5/rendered">CT Image, frames 5, 7</a>' in page


def test_an_object_of_an_unknown_series_is_named_but_not_linked() -> None:
    page = encode_html(report(image("1.2.9"), CurrentRequestedProcedureEvidenceSequence=evidence()), ROOT).decode()
    assert "CT Image" in page and "<a " not in page


def test_a_key_object_selection_shows_title_comment_and_all_images() -> None:
    """PS3.16 TID 2010."""
    data_set = made(
        SOPClassUID=KeyObjectSelectionDocumentStorage,
        ConceptNameCodeSequence=[code("For Referring Provider", "113002", "DCM")],
        CurrentRequestedProcedureEvidenceSequence=evidence(),
        ContentSequence=[
            content("TEXT", "Key Object Description", TextValue="See the lesion"),
            content("IMAGE", ReferencedSOPSequence=image("1.2.3").ReferencedSOPSequence),
        ],
    )
    words = encode_text(Report.from_data_set(through(data_set)), ROOT).decode()
    assert words.startswith("For Referring Provider\n====")
    assert "Key Object Description: See the lesion" in words
    assert "/instances/1.2.3/rendered" in words


class _Tags(HTMLParser):
    """All tags and attributes of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: set[str] = set()
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'&"


def test_hostile_text_stays_text() -> None:
    reference = made(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID='1"onclick=x')
    data_set = made(PatientName=HOSTILE, PatientID=HOSTILE, SOPClassUID=BasicTextSRStorage)
    data_set.ConceptNameCodeSequence = [code(HOSTILE)]
    data_set.ContentSequence = [
        content("TEXT", HOSTILE, TextValue=HOSTILE * 9),
        content("IMAGE", ReferencedSOPSequence=[reference]),
        content("CONTAINER", HOSTILE, ContentSequence=[content("UT", HOSTILE, ContentSequence=[content("NUM")])]),
    ]
    page = encode_html(Report.from_data_set(data_set), 'http://"><script>')
    tags = _Tags(page)
    assert not {"script", "img"} & set(tags.tags)
    assert not tags.open
    assert not {"onerror", "onclick", "src", "style"} & tags.attributes
    assert html.escape(HOSTILE) in page.decode()


def test_the_page_forbids_scripts_and_outside_resources_itself() -> None:
    page = encode_html(report(), ROOT).decode()
    assert "default-src 'none'" in page and "http-equiv" in page


def test_ten_thousand_levels_are_cut_in_short_time() -> None:
    read = Report.from_data_set(parse_head(nested(10_000)))
    assert read.cut and _depth(read.contents) == MAX_DEPTH
    assert "has more content" in encode_text(read, ROOT).decode()
    assert b"has more content" in encode_html(read, ROOT)


def test_the_time_for_a_report_grows_with_its_levels() -> None:
    def prepare(levels: int) -> Callable[[], object]:
        head = nested(levels)
        return lambda: encode_html(Report.from_data_set(parse_head(head)), ROOT)

    grows_linearly(prepare, 16_384)


def _depth(contents: tuple[Content, ...]) -> int:
    return 1 + max((_depth(one.contents) for one in contents), default=-1) if contents else 0


def test_more_items_than_anyone_reads_are_cut() -> None:
    data_set = made(ContentSequence=[content("CONTAINER", ContentSequence=[content("NUM")] * 20)])
    assert not Report.from_data_set(data_set, most=21).cut
    read = Report.from_data_set(data_set, most=20)
    assert read.cut and len(read.contents[0].contents) == 19


@pytest.mark.parametrize("name", ["test-SR.dcm", "reportsi.dcm", "reportsi_with_empty_number_tags.dcm"])
def test_real_reports_are_whole(name: str) -> None:
    read = Report.from_data_set(pydicom_file(name))
    assert not read.cut
    assert not _Tags(encode_html(read, ROOT)).open
    assert max(map(len, encode_text(read, ROOT).decode().splitlines())) <= 78


def test_a_real_report_reads_like_one() -> None:
    words = encode_text(Report.from_data_set(pydicom_file("test-SR.dcm")), ROOT).decode()
    assert "Riesmeier, Jörg, OFFIS e.V." in words
    assert "  Diameter: 3 cm\n" in words


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(made(ValueType="NUM", MeasuredValueSequence=[Dataset()]), id="an empty item"),
        pytest.param(made(ValueType="IMAGE", ReferencedSOPSequence=[Dataset()]), id="no reference"),
        pytest.param(made(ValueType="TCOORD"), id="no time"),
        pytest.param(Dataset(), id="nothing"),
    ],
)
def test_what_is_missing_is_left_out(broken: Dataset) -> None:
    read = report(broken)
    assert encode_text(read, ROOT) and encode_html(read, ROOT)
