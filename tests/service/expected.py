"""What must come back for a request, to the last pixel: checks of an answer against the archive that it came from."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian

from dicomweb.transfer_syntax import transfer_syntax
from tests.service.answers import Answer, Part, native
from tests.service.clinic import KEPT_AS, PDF, Clinic

JSON = "application/dicom+json"
NATIVE = transfer_syntax(ExplicitVRLittleEndian).content_type
STORED = transfer_syntax(KEPT_AS).content_type
AS_JPEG_2000 = "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90"
JPEG = "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"
_NUMBERS = ("DS", "FD", "FL", "IS", "SL", "SS", "UL", "US")

Check = Callable[[Answer, Clinic], None]


def rows(count: int, *tags: str) -> Check:
    """So many data sets that have values for these attributes, in JSON that the strictest reader takes."""

    def check(answer: Answer, _clinic: Clinic) -> None:
        assert (answer.status, answer.content_type) == (200, JSON)
        assert len(answer.json) == count
        for row in answer.json:
            _strict(row)
            assert [tag for tag in tags if not row.get(tag, {}).get("Value")] == []

    return check


def browsable(answer: Answer, _clinic: Clinic) -> None:
    """JSON that the address bar of a browser shows."""
    assert (answer.status, answer.content_type) == (200, JSON)
    assert answer.json


def metadata(count: int) -> Check:
    """The data sets of so many instances."""
    return rows(count, "00080016", "00080018", "0020000D", "0020000E", "00081190")


def _strict(data_set: dict[str, Any]) -> None:
    for tag, element in data_set.items():
        assert len(tag) == 8
        assert len(element["vr"]) == 2
        assert set(element) <= {"vr", "Value", "InlineBinary", "BulkDataURI"}
        for value in element.get("Value", []):
            if element["vr"] == "SQ":
                _strict(value)
            elif element["vr"] == "PN":
                assert set(value) <= {"Alphabetic", "Ideographic", "Phonetic"}
            else:
                assert isinstance(value, int | float) is (element["vr"] in _NUMBERS)


def frames(label: str, *numbers: int, of: str = "ct", single: bool = False) -> Check:
    """These frames of an instance, each under this label, and decoded by it the pixels of the source."""

    def check(answer: Answer, clinic: Clinic) -> None:
        assert answer.status == 200
        assert answer.content_type.startswith(label if single else f'multipart/related; type="{label.split(";")[0]}"; ')
        assert int(answer.headers["Content-Length"]) == len(answer.body)
        assert [part.content_type for part in answer.parts] == [label] * len(numbers)
        source = clinic.frames(clinic.paths[of].rpartition("/")[2])
        assert [native(part) for part in answer.parts] == [source[number - 1] for number in numbers]

    return check


def files(count: int, syntax: str = ExplicitVRLittleEndian, *, single: bool = False) -> Check:
    """Part 10 objects in display order, each with the pixels of its source.

    They are in Explicit VR Little Endian, unless `syntax` names what their frames are to be in instead; what has no
    frames, or packed ones, is not encoded in any other way.
    """

    def check(answer: Answer, clinic: Clinic) -> None:
        assert answer.status == 200
        assert answer.content_type.startswith(
            "application/dicom; transfer-syntax=" if single else 'multipart/related; type="application/dicom"; '
        )
        assert len(answer.parts) == count
        received = [_file(part, syntax, clinic) for part in answer.parts]
        shown = [(str(data_set.SeriesNumber), str(data_set.get("InstanceNumber"))) for data_set in received]
        assert shown == sorted(shown)

    return check


def _file(part: Part, syntax: str, clinic: Clinic) -> Dataset:
    data_set = dcmread(BytesIO(part.body))
    encoded = syntax != ExplicitVRLittleEndian and data_set.get("BitsAllocated", 1) > 1
    expected = syntax if encoded else ExplicitVRLittleEndian
    assert data_set.file_meta.TransferSyntaxUID == expected
    assert part.content_type == f"application/dicom; transfer-syntax={expected}"
    source = clinic.frames(data_set.SOPInstanceUID)
    if encoded:
        label = transfer_syntax(syntax).content_type
        stored = generate_frames(data_set.PixelData, number_of_frames=len(source))
        assert [native(Part(label, None, frame)) for frame in stored] == list(source)
    else:
        pixels = b"".join(source)
        assert data_set.get("PixelData", b"")[: len(pixels)] == pixels
    return data_set


def picture(media_type: str) -> Check:
    """A picture that is not all of one grey."""

    def check(answer: Answer, _clinic: Clinic) -> None:
        assert (answer.status, answer.content_type) == (200, media_type)
        drawn = Image.open(BytesIO(answer.body))
        assert drawn.get_format_mimetype() == media_type
        assert len(set(drawn.convert("L").tobytes())) > 1

    return check


def document(answer: Answer, _clinic: Clinic) -> None:
    """The PDF file, as the only part."""
    assert answer.status == 200
    assert answer.content_type.startswith('multipart/related; type="application/pdf"; ')
    assert [part.content_type for part in answer.parts] == ["application/pdf"]
    assert answer.parts[0].body[: len(PDF)] == PDF


def refused(answer: Answer, _clinic: Clinic) -> None:
    """Not in any of these types: what clients that probe take as "try another one"."""
    assert (answer.status, answer.content_type) == (406, "application/problem+json")


def preflight(answer: Answer, _clinic: Clinic) -> None:
    """A page of this machine may ask, with the headers that it wants to send."""
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert "GET" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "accept"
