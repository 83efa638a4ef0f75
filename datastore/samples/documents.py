"""The structured report of the CT, and a letter about it as PDF."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import CTImageStorage, EncapsulatedPDFStorage, EnhancedSRStorage

from datastore.samples import ct
from datastore.samples.anatomy import IN_LIVER, NODULE
from datastore.samples.objects import Series, code, item, write

REPORT = Series(ct.STUDY, 2, "SR", "Report")
LETTER = Series(ct.STUDY, 3, "DOC", "Letter")
_CYST = IN_LIVER[2]
_NODULE_TEXT = "Solid nodule in the right upper lobe, smooth in outline, without calcification."
_CYST_TEXT = "Simple cyst in the right lobe of the liver."
_REST = (
    "No effusion. No enlarged lymph nodes. Heart and great vessels of normal size. "
    "Spleen, pancreas, kidneys and the bowel that is shown without findings."
)
_CONCLUSION = "Nodule of 12 mm in the right lung: another CT in three months. Nothing else that needs treatment."


def write_report(folder: Path, slices: int) -> None:
    """Write the structured report, which refers to two slices (PS3.3 Section A.35.2)."""
    made = REPORT.instance(
        EnhancedSRStorage,
        1,
        CompletionFlag="COMPLETE",
        VerificationFlag="UNVERIFIED",
        ValueType="CONTAINER",
        ConceptNameCodeSequence=[code("18782-3", "LN", "Radiology study observation")],
        ContinuityOfContent="SEPARATE",
        ReferencedPerformedProcedureStepSequence=[],
        PerformedProcedureCodeSequence=[],
        ContentSequence=list(_content(slices)),
        CurrentRequestedProcedureEvidenceSequence=[_evidence(slices)],
    )
    write(made, folder)


def _content(slices: int) -> Iterator[Dataset]:
    yield _text("HAS OBS CONTEXT", code("121008", "DCM", "Person Observer Name"), "Sample^Reader", "PNAME")
    for heading, text, shape, size in (
        (code("39607105", "SCT", "Lung"), _NODULE_TEXT, NODULE, "12"),
        (code("10200004", "SCT", "Liver"), _CYST_TEXT, _CYST, "22"),
    ):
        measured = item(
            RelationshipType="CONTAINS",
            ValueType="NUM",
            ConceptNameCodeSequence=[code("81827009", "SCT", "Diameter")],
            MeasuredValueSequence=[
                item(NumericValue=size, MeasurementUnitsCodeSequence=[code("mm", "UCUM", "millimeter")])
            ],
        )
        picture = item(
            RelationshipType="CONTAINS",
            ValueType="IMAGE",
            ConceptNameCodeSequence=[code("121079", "DCM", "Baseline")],
            ReferencedSOPSequence=[_reference(shape.centre[2], slices)],
        )
        finding = _text("CONTAINS", code("121071", "DCM", "Finding"), text)
        yield _section(heading, [finding, measured, picture])
    yield _section(code("121070", "DCM", "Findings"), [_text("CONTAINS", code("121071", "DCM", "Finding"), _REST)])
    conclusion = _text("CONTAINS", code("121077", "DCM", "Conclusion"), _CONCLUSION)
    yield _section(code("121076", "DCM", "Conclusions"), [conclusion])


def _section(heading: Dataset, content: Sequence[Dataset]) -> Dataset:
    return item(
        RelationshipType="CONTAINS",
        ValueType="CONTAINER",
        ConceptNameCodeSequence=[heading],
        ContinuityOfContent="SEPARATE",
        ContentSequence=content,
    )


def _text(relationship: str, name: Dataset, value: str, kind: str = "TEXT") -> Dataset:
    made = item(RelationshipType=relationship, ValueType=kind, ConceptNameCodeSequence=[name])
    setattr(made, "TextValue" if kind == "TEXT" else "PersonName", value)
    return made


def _reference(height: float, slices: int) -> Dataset:
    shown = ct.IMAGES.instance_uid(ct.slice_number(height, slices))
    return item(ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID=shown)


def _evidence(slices: int) -> Dataset:
    images = [_reference(shape.centre[2], slices) for shape in (NODULE, _CYST)]
    series = item(SeriesInstanceUID=ct.IMAGES.uid, ReferencedSOPSequence=images)
    return item(StudyInstanceUID=ct.STUDY.uid, ReferencedSeriesSequence=[series])


def write_letter(folder: Path) -> None:
    """Write the letter (PS3.3 Section A.45.1)."""
    lines = [
        "Sample Hospital",
        "",
        "Patient: Anna Berger, born 12 March 1961",
        "CT of chest and upper abdomen, 12 November 2026",
        "",
        _NODULE_TEXT,
        _CYST_TEXT,
        *_CONCLUSION.replace(": ", ":\n").split("\n"),
        "",
        "This patient does not exist. The pictures were made by a program.",
    ]
    content = _pdf(lines)
    made = LETTER.instance(
        EncapsulatedPDFStorage,
        1,
        DocumentTitle="Letter",
        BurnedInAnnotation="YES",
        ConversionType="WSD",
        ConceptNameCodeSequence=[code("18748-4", "LN", "Diagnostic imaging report")],
        MIMETypeOfEncapsulatedDocument="application/pdf",
        EncapsulatedDocumentLength=len(content),
        EncapsulatedDocument=content + b"\0" * (len(content) % 2),
    )
    write(made, folder)


def _pdf(lines: Sequence[str]) -> bytes:
    """A page of text (ISO 32000-1 Section 7.5); the lines are ASCII without brackets and backslashes."""
    text = "".join(f"({line}) Tj T*\n" for line in lines)
    stream = f"BT /F1 12 Tf 18 TL 72 760 Td\n{text}ET"
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    body, places = "%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    count = len(objects) + 1
    end = f"trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    return f"{body}xref\n0 {count}\n0000000000 65535 f \n{table}{end}".encode("ascii")
