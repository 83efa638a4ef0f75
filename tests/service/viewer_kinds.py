"""Studies of each kind that a viewer shows, and the picture that each must show, computed from the pixels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG4HP41,
    UID,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    RTStructureSetStorage,
    SegmentationStorage,
    UltrasoundMultiFrameImageStorage,
    VideoPhotographicImageStorage,
    generate_uid,
)

from datastore.samples.objects import code, item
from tests.pydicom_files import pydicom_path

Picture = NDArray[np.uint8]

SLICES, SIZE = 12, 128
FRAME_OF_REFERENCE = "1.2.826.0.1.3680043.10.4711.90.1"


@dataclass(frozen=True)
class Kind:
    """One study: its data sets, and the picture of the frame that a viewer shows first; None for no picture."""

    name: str
    data_sets: tuple[Dataset, ...]
    picture: Picture | None = None

    @property
    def study(self) -> str:
        """Its Study Instance UID."""
        return str(self.data_sets[0].StudyInstanceUID)


def write_kinds(folder: Path) -> Mapping[str, Kind]:
    """Write the files of all kinds into a folder; the kinds by their names."""
    kinds = {kind.name: kind for kind in (make() for make in MAKERS)}
    for kind in kinds.values():
        for number, data_set in enumerate(kind.data_sets):
            data_set.save_as(folder / f"{kind.name}-{number}.dcm", enforce_file_format=True)
    return kinds


def _data_set(name: str, sop_class: str, modality: str, *, study: str = "", **values: Any) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    elements = {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": study or generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "PatientID": f"KIND-{name}"[:16],
        "PatientName": f"Kind^{name}",
        "StudyDate": "20261101",
        "StudyTime": "120000",
        "StudyDescription": name,
        "SeriesDescription": name,
        "Modality": modality,
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        **values,
    }
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def _pixels(made: Dataset, pixels: NDArray[Any], photometric: str = "MONOCHROME2", **values: Any) -> Dataset:
    """Give a data set the pixels of one frame, or of several that share the last axes."""
    samples = 3 if pixels.ndim >= 3 and pixels.shape[-1] == 3 else 1
    rows, columns = pixels.shape[-3:-1] if samples == 3 else pixels.shape[-2:]
    elements = {
        "Rows": rows,
        "Columns": columns,
        "SamplesPerPixel": samples,
        "PhotometricInterpretation": photometric,
        "BitsAllocated": pixels.dtype.itemsize * 8,
        "BitsStored": pixels.dtype.itemsize * 8,
        "HighBit": pixels.dtype.itemsize * 8 - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        **({"PlanarConfiguration": 0} if samples == 3 else {}),
        **values,
    }
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    made.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    return made


def _body(number: int) -> NDArray[np.int16]:
    """A slice that looks different in every corner: an ellipse, a bright spot and a ramp that moves."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    pixels = np.full((SIZE, SIZE), -1000, np.int16)
    pixels[((x - 64) / 50) ** 2 + ((y - 70) / 40) ** 2 < 1] = 30
    pixels[(x - 40) ** 2 + (y - 50) ** 2 < 100] = 180
    pixels[90:100, 30:100] = np.linspace(-150, 230, 70)
    pixels[20 + number, 20:40] = 300
    return pixels


def _ct_slices(name: str, study: str = "") -> tuple[Dataset, ...]:
    first = _data_set(name, CTImageStorage, "CT", study=study)
    made = []
    for number in range(SLICES):
        one = _data_set(
            name,
            CTImageStorage,
            "CT",
            study=first.StudyInstanceUID,
            SeriesInstanceUID=first.SeriesInstanceUID,
            InstanceNumber=number + 1,
            FrameOfReferenceUID=FRAME_OF_REFERENCE,
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[-64, -64, number * 2],
            PixelSpacing=[1, 1],
            SliceThickness=2,
            RescaleIntercept=0,
            RescaleSlope=1,
            RescaleType="HU",
            WindowCenter=40,
            WindowWidth=400,
        )
        made.append(_pixels(one, _body(number)))
    return tuple(made)


def _unplaced() -> Kind:
    """A series whose last image tells neither its position nor its orientation."""
    images = _ct_slices("unplaced")
    del images[-1].ImagePositionPatient
    del images[-1].ImageOrientationPatient
    return Kind("unplaced", images, windowed(_body(0)))


def windowed(pixels: NDArray[Any], center: float = 40, width: float = 400) -> Picture:
    """The grey levels of modality values (PS3.3 Section C.11.2.1.2.1)."""
    scaled = ((pixels.astype(float) - (center - 0.5)) / (width - 1) + 0.5) * 255
    grey: Picture = np.clip(scaled, 0, 255).round().astype(np.uint8)
    return grey


def _ct() -> Kind:
    return Kind("ct", _ct_slices("ct"), windowed(_body(0)))


def _tiny(size: int) -> Callable[[], Kind]:
    def make() -> Kind:
        pixels = np.arange(size * size, dtype=np.uint16).reshape(size, size) * 16
        made = _data_set(f"tiny{size}", CTImageStorage, "CT", PixelSpacing=[1, 1], WindowCenter=2048, WindowWidth=4096)
        made = _pixels(made, pixels, RescaleIntercept=0, RescaleSlope=1)
        return Kind(f"tiny{size}", (made,), windowed(pixels, 2048, 4096))

    return make


def _cine() -> Kind:
    y, x = np.mgrid[0:96, 0:128]
    frames = np.stack([(x + y + 3 * number) % 256 for number in range(24)]).astype(np.uint8)
    made = _data_set("cine", UltrasoundMultiFrameImageStorage, "US", NumberOfFrames=24, FrameTime=40)
    made.FrameIncrementPointer = 0x00181063
    return Kind("cine", (_pixels(made, frames, WindowCenter=128, WindowWidth=256),), frames[0])


def _sample(name: str, file: str) -> Dataset:
    made = dcmread(pydicom_path(file))
    for keyword, value in (("PatientID", f"KIND-{name}"), ("PatientName", f"Kind^{name}"), ("StudyDate", "20261101")):
        setattr(made, keyword, value)
    made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID = (generate_uid() for _ in range(3))
    return made


def _rgb() -> Kind:
    made = _sample("rgb", "examples_rgb_color.dcm")
    return Kind("rgb", (made,), made.pixel_array)


def _ybr() -> Kind:
    made = _sample("ybr", "examples_ybr_color.dcm")
    return Kind("ybr", (made,), made.pixel_array[0])


def _palette() -> Kind:
    made = _sample("palette", "examples_palette.dcm")
    return Kind("palette", (made,), (apply_color_lut(made.pixel_array, made) >> 8).astype(np.uint8))


def _mammogram() -> Kind:
    y, x = np.mgrid[0:1024, 0:800]
    breast = np.hypot(x / 700, (y - 512) / 480)
    pixels = np.where(breast < 1, 3000 * (1 - breast) + 200 + 200 * np.sin(x / 40) * np.cos(y / 60), 0)
    values: dict[str, Any] = {
        **{"ImageLaterality": "L", "ViewPosition": "CC", "PresentationIntentType": "FOR PRESENTATION"},
        **{"ImagerPixelSpacing": [0.1, 0.1], "WindowCenter": 1600, "WindowWidth": 3200},
        "PatientOrientation": ["A", "R"],
    }
    made = _data_set("mammogram", DigitalMammographyXRayImageStorageForPresentation, "MG", **values)
    stored = pixels.astype(np.uint16)
    return Kind("mammogram", (_pixels(made, stored, BitsStored=12, HighBit=11),), windowed(stored, 1600, 3200))


SEGMENTS = {1: (slice(30, 60), slice(30, 60)), 2: (slice(70, 95), slice(70, 110))}
"""The rows and columns of each segment, in all slices."""


def _segmented() -> Kind:
    images = _ct_slices("segmentation")
    made = _data_set(
        "segmentation",
        SegmentationStorage,
        "SEG",
        study=images[0].StudyInstanceUID,
        SeriesNumber=2,
        FrameOfReferenceUID=FRAME_OF_REFERENCE,
        SegmentationType="BINARY",
        ImageType=["DERIVED", "PRIMARY"],
        ContentLabel="SEG",
        LossyImageCompression="00",
        NumberOfFrames=len(SEGMENTS) * len(images),
    )
    made.SegmentSequence = [
        item(
            SegmentNumber=number,
            SegmentLabel=f"Segment {number}",
            SegmentAlgorithmType="MANUAL",
            SegmentedPropertyCategoryCodeSequence=[code("85756007", "SCT", "Tissue")],
            SegmentedPropertyTypeCodeSequence=[code("85756007", "SCT", "Tissue")],
            RecommendedDisplayCIELabValue=[40000 - 10000 * number, 50000, 30000 + 10000 * number],
        )
        for number in SEGMENTS
    ]
    made.DimensionOrganizationSequence = [item(DimensionOrganizationUID=generate_uid())]
    organization = made.DimensionOrganizationSequence[0].DimensionOrganizationUID
    made.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=organization, DimensionIndexPointer=0x0062000B, FunctionalGroupPointer=0x0062000A
        ),
        item(
            DimensionOrganizationUID=organization, DimensionIndexPointer=0x00200032, FunctionalGroupPointer=0x00209113
        ),
    ]
    made.ReferencedSeriesSequence = [_references(images)]
    made.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=[1, 1], SliceThickness=2, SpacingBetweenSlices=2)],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        )
    ]
    frames, groups = [], []
    for number, place in SEGMENTS.items():
        for index, image in enumerate(images):
            frame = np.zeros((SIZE, SIZE), np.uint8)
            frame[place] = 1
            frames.append(frame)
            groups.append(_segment_frame(number, index, image))
    made.PerFrameFunctionalGroupsSequence = groups
    packed = np.packbits(np.stack(frames).reshape(-1), bitorder="little")
    for keyword, value in {
        **{"Rows": SIZE, "Columns": SIZE, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"},
        **{"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelRepresentation": 0},
        "PixelData": packed.tobytes(),
    }.items():
        setattr(made, keyword, value)
    return Kind("segmentation", (*images, made), windowed(_body(0)))


def _segment_frame(number: int, index: int, image: Dataset) -> Dataset:
    source = item(
        ReferencedSOPClassUID=image.SOPClassUID,
        ReferencedSOPInstanceUID=image.SOPInstanceUID,
        PurposeOfReferenceCodeSequence=[code("121322", "DCM", "Source image for image processing operation")],
    )
    return item(
        DerivationImageSequence=[
            item(
                DerivationCodeSequence=[code("113076", "DCM", "Segmentation")],
                SourceImageSequence=[source],
            )
        ],
        FrameContentSequence=[item(DimensionIndexValues=[number, index + 1])],
        PlanePositionSequence=[item(ImagePositionPatient=list(image.ImagePositionPatient))],
        SegmentIdentificationSequence=[item(ReferencedSegmentNumber=number)],
    )


def _references(images: tuple[Dataset, ...]) -> Dataset:
    return item(
        SeriesInstanceUID=images[0].SeriesInstanceUID,
        ReferencedInstanceSequence=[
            item(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID) for one in images
        ],
    )


RADIUS = 40.0
"""The radius of the contour around the middle of each slice, in millimetres, which are pixels."""


def _structures() -> Kind:
    images = _ct_slices("structures")
    made = _data_set(
        "structures",
        RTStructureSetStorage,
        "RTSTRUCT",
        study=images[0].StudyInstanceUID,
        SeriesNumber=2,
        StructureSetLabel="Structures",
        StructureSetDate="20261101",
        StructureSetTime="120000",
    )
    contour_images = [
        item(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID) for one in images
    ]
    made.ReferencedFrameOfReferenceSequence = [
        item(
            FrameOfReferenceUID=FRAME_OF_REFERENCE,
            RTReferencedStudySequence=[
                item(
                    ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
                    ReferencedSOPInstanceUID=images[0].StudyInstanceUID,
                    RTReferencedSeriesSequence=[
                        item(SeriesInstanceUID=images[0].SeriesInstanceUID, ContourImageSequence=contour_images)
                    ],
                )
            ],
        )
    ]
    made.StructureSetROISequence = [
        item(
            ROINumber=1,
            ReferencedFrameOfReferenceUID=FRAME_OF_REFERENCE,
            ROIName="Body",
            ROIGenerationAlgorithm="MANUAL",
        )
    ]
    made.ROIContourSequence = [
        item(
            ROIDisplayColor=[255, 0, 0],
            ReferencedROINumber=1,
            ContourSequence=[_contour(one) for one in images],
        )
    ]
    made.RTROIObservationsSequence = [
        item(ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType="EXTERNAL", ROIInterpreter="")
    ]
    return Kind("structures", (*images, made), windowed(_body(0)))


def _contour(image: Dataset) -> Dataset:
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    depth = float(image.ImagePositionPatient[2])
    points = [(RADIUS * np.cos(one), RADIUS * np.sin(one), depth) for one in angles]
    return item(
        ContourImageSequence=[
            item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)
        ],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(points),
        ContourData=[f"{value:.3f}" for point in points for value in point],
    )


LENGTH_MM = 50.0
_TOOL = "Cornerstone3DTools@^0.1.0:Length"


def _measured() -> Kind:
    images = _ct_slices("measurements")
    image = images[SLICES // 2]
    made = _data_set(
        "measurements",
        "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
        "SR",
        study=images[0].StudyInstanceUID,
        SeriesNumber=2,
        CompletionFlag="COMPLETE",
        VerificationFlag="UNVERIFIED",
        ValueType="CONTAINER",
        ContinuityOfContent="SEPARATE",
        ContentDate="20261101",
        ContentTime="120000",
        PerformedProcedureCodeSequence=[],
    )
    made.ConceptNameCodeSequence = [code("126000", "DCM", "Imaging Measurement Report")]
    made.ContentTemplateSequence = [item(MappingResource="DCMR", TemplateIdentifier="1500")]
    made.CurrentRequestedProcedureEvidenceSequence = [
        item(
            StudyInstanceUID=image.StudyInstanceUID,
            ReferencedSeriesSequence=[
                item(
                    SeriesInstanceUID=image.SeriesInstanceUID,
                    ReferencedSOPSequence=[_reference(image)],
                )
            ],
        )
    ]
    selected = item(RelationshipType="SELECTED FROM", ValueType="IMAGE", ReferencedSOPSequence=[_reference(image)])
    line = item(
        RelationshipType="INFERRED FROM",
        ValueType="SCOORD",
        GraphicType="POLYLINE",
        GraphicData=[39.0, 64.0, 39.0 + LENGTH_MM, 64.0],
        ContentSequence=[selected],
    )
    number = item(
        RelationshipType="CONTAINS",
        ValueType="NUM",
        ConceptNameCodeSequence=[code("410668003", "SCT", "Length")],
        MeasuredValueSequence=[
            item(NumericValue=str(LENGTH_MM), MeasurementUnitsCodeSequence=[code("mm", "UCUM", "millimeter")])
        ],
        ContentSequence=[line],
    )
    group = _container("CONTAINS", code("125007", "DCM", "Measurement Group"), [
        _word("HAS OBS CONTEXT", "TEXT", code("112039", "DCM", "Tracking Identifier"), _TOOL),
        _word("HAS OBS CONTEXT", "UIDREF", code("112040", "DCM", "Tracking Unique Identifier"), generate_uid()),
        number,
    ])  # fmt: skip
    made.ContentSequence = [
        item(
            RelationshipType="HAS CONCEPT MOD",
            ValueType="CODE",
            ConceptNameCodeSequence=[code("121049", "DCM", "Language of Content Item and Descendants")],
            ConceptCodeSequence=[code("eng", "RFC5646", "English")],
        ),
        _container("CONTAINS", code("126010", "DCM", "Imaging Measurements"), [group]),
    ]
    return Kind("measurements", (*images, made), windowed(_body(0)))


def _reference(image: Dataset) -> Dataset:
    return item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)


def _container(relationship: str, concept: Dataset, content: list[Dataset]) -> Dataset:
    return item(
        RelationshipType=relationship,
        ValueType="CONTAINER",
        ContinuityOfContent="SEPARATE",
        ConceptNameCodeSequence=[concept],
        ContentSequence=Sequence(content),
    )


def _word(relationship: str, kind: str, concept: Dataset, value: str) -> Dataset:
    made = item(RelationshipType=relationship, ValueType=kind, ConceptNameCodeSequence=[concept])
    setattr(made, "UID" if kind == "UIDREF" else "TextValue", UID(value) if kind == "UIDREF" else value)
    return made


def _mixed() -> Kind:
    """One series with images of two sizes, as a localizer among slices is."""
    images = _ct_slices("mixed")
    small = _data_set(
        "mixed",
        CTImageStorage,
        "CT",
        study=images[0].StudyInstanceUID,
        SeriesInstanceUID=images[0].SeriesInstanceUID,
        InstanceNumber=SLICES + 1,
        FrameOfReferenceUID=FRAME_OF_REFERENCE,
        ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
        ImagePositionPatient=[0, -64, 0],
        PixelSpacing=[2, 2],
        WindowCenter=40,
        WindowWidth=400,
        RescaleIntercept=0,
        RescaleSlope=1,
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )
    return Kind("mixed", (*images, _pixels(small, _body(0)[::2, ::2].copy())), windowed(_body(0)))


def video(stream: bytes) -> Dataset:
    """A video of 320 x 240 pixels with that stream, in MPEG-4 AVC/H.264."""
    made = _data_set(
        "video",
        VideoPhotographicImageStorage,
        "XC",
        NumberOfFrames=40,
        FrameTime=40,
        Rows=240,
        Columns=320,
        SamplesPerPixel=3,
        PhotometricInterpretation="YBR_PARTIAL_420",
        PlanarConfiguration=0,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelRepresentation=0,
        LossyImageCompression="01",
    )
    made.FrameIncrementPointer = 0x00181063
    made.file_meta.TransferSyntaxUID = MPEG4HP41
    made.PixelData = encapsulate([stream + b"\0" * (len(stream) % 2)])
    made["PixelData"].is_undefined_length = True
    return made


MAKERS: tuple[Callable[[], Kind], ...] = (
    *(_ct, _tiny(16), _tiny(8), _cine, _rgb, _ybr, _palette, _mammogram),
    *(_segmented, _structures, _measured, _mixed, _unplaced),
)


def overlap(found: Picture, expected: Picture) -> float:
    """How alike two pictures of one size are: the correlation of their grey levels or colours, up to 1."""
    a, b = (one.astype(float).reshape(-1) - one.mean() for one in (found, expected))
    return float((a @ b) / (np.sqrt((a @ a) * (b @ b)) or 1))
