"""Real images and presentation states with what goes wrong in archives: each is drawn, or refused in words."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from random import Random
from urllib.parse import urlencode

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import Dataset, FileMetaDataset, Sequence, dcmread
from pydicom.dataelem import DataElement
from pydicom.uid import ExplicitVRLittleEndian, GrayscaleSoftcopyPresentationStateStorage, generate_uid

from datastore.embedded import Embedded
from tests.pydicom_files import pydicom_path
from tests.service.process import Service

PATIENT = {"PatientName": "Verletzt^Person", "PatientID": "GEHEIM-4711"}
BASES = ("CT_small.dcm", "examples_palette.dcm", "examples_rgb_color.dcm", "rtdose.dcm", "liver_1frame.dcm",
         "JPEG2000.dcm", "MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm")  # fmt: skip
FILES_OF_BASE = 8
STATES = 16

Damage = Callable[[Dataset, Random], None]


def short_pixels(data_set: Dataset, random: Random) -> None:
    data_set.PixelData = data_set.PixelData[: random.randrange(0, len(data_set.PixelData), 2)]


def long_pixels(data_set: Dataset, random: Random) -> None:
    data_set.PixelData = data_set.PixelData + random.randbytes(2 * random.randrange(1, 5000))


def number_of_frames(data_set: Dataset, random: Random) -> None:
    vr, value = random.choice([("IS", 0), ("IS", 7), ("IS", 100_000), ("LO", "x"), ("IS", -1), ("IS", [1, 2])])
    data_set.add(DataElement(0x00280008, vr, value))


def size(data_set: Dataset, random: Random) -> None:
    setattr(data_set, random.choice(["Rows", "Columns"]), random.choice([0, 1, 17, 200, 65_535]))


def bits(data_set: Dataset, random: Random) -> None:
    for keyword in random.sample(["BitsStored", "HighBit", "BitsAllocated", "PixelRepresentation"], 2):
        setattr(data_set, keyword, random.choice([0, 1, 7, 8, 12, 16, 32, 33, 65_535]))


def colours(data_set: Dataset, random: Random) -> None:
    data_set.PhotometricInterpretation = random.choice(["RGB", "YBR_FULL_422", "PALETTE COLOR", "MONOCHROME1", "X", ""])
    data_set.SamplesPerPixel = random.choice([0, 1, 2, 3, 4])
    data_set.PlanarConfiguration = random.choice([0, 1, 9])


def palette(data_set: Dataset, random: Random) -> None:
    data_set.PhotometricInterpretation = "PALETTE COLOR"
    for colour in range(3):
        descriptor = random.choice([[256, 0, 16], [0, 0, 8], [10, 65_000, 99], [1, 2]])
        data_set.add_new(0x00281101 + colour, "US", descriptor)
        data_set.add_new(0x00281201 + colour, "OW", random.randbytes(random.choice([0, 2, 100])))


def look_up_table(random: Random) -> Dataset:
    table = Dataset()
    table.add_new(0x00283002, "US", random.choice([[256, 0, 8], [0, 40_000, 16], [65_535, 1, 0], [3]]))
    table.add_new(0x00283006, "OW", random.randbytes(2 * random.randrange(40)))
    return table


def tables(data_set: Dataset, random: Random) -> None:
    name = random.choice(["ModalityLUTSequence", "VOILUTSequence", "PresentationLUTSequence"])
    setattr(data_set, name, Sequence([look_up_table(random) for _ in range(random.randrange(3))]))


def windows(data_set: Dataset, random: Random) -> None:
    numbers = ["0", "-1", "1e300", "40", "1e-300"]
    data_set.WindowCenter = random.sample(numbers, random.randrange(1, 4))
    data_set.WindowWidth = random.sample(numbers, random.randrange(1, 4))
    data_set.RescaleSlope, data_set.RescaleIntercept = random.choice(numbers), random.choice(numbers)


def overlay(data_set: Dataset, random: Random) -> None:
    for element, value in ((0x10, random.choice([1, 64, 65_535])), (0x11, random.choice([1, 128, 65_535]))):
        data_set.add_new(0x60000000 + element, "US", value)
    data_set.add_new(0x60000050, "SS", random.choice([[1, 1], [-32_768, 32_767], [1]]))
    data_set.add_new(0x60003000, "OW", random.randbytes(2 * random.randrange(2000)))


def profile(data_set: Dataset, random: Random) -> None:
    data_set.ICCProfile = random.randbytes(2 * random.randrange(300))


def shape(data_set: Dataset, random: Random) -> None:
    data_set.PixelAspectRatio = random.choice([[0, 1], [1, 30_000], [1, 2]])
    data_set.PixelSpacing = random.choice([["0", "0"], ["1e-300", "1"], ["1"]])


def groups(data_set: Dataset, random: Random) -> None:
    of = Dataset()
    of.PixelValueTransformationSequence = Sequence([look_up_table(random)])
    data_set.PerFrameFunctionalGroupsSequence = Sequence([of] * random.randrange(3))


DAMAGES: tuple[Damage, ...] = (short_pixels, long_pixels, number_of_frames, size, bits, colours, palette, tables,
                               windows, overlay, profile, shape, groups)  # fmt: skip


@dataclass(frozen=True)
class Archive:
    """What was made: the path of each instance, and the service that holds it."""

    paths: tuple[str, ...] = field(repr=False)
    service: Service


def _named(data_set: Dataset, random: Random) -> Dataset:
    for keyword, value in PATIENT.items():
        setattr(data_set, keyword, value)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(data_set, keyword, generate_uid(entropy_srcs=[random.randbytes(16).hex()]))
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    return data_set


def _damaged(base: str, random: Random) -> Dataset:
    path = pydicom_path(base)
    data_set = _named(dcmread(path), random)
    for damage in random.sample(DAMAGES, random.choice([1, 1, 2, 3])):
        damage(data_set, random)
    return data_set


def _state(image: Dataset, random: Random) -> Dataset:
    """A presentation state of an image, with what may be wrong in it."""
    state = Dataset()
    state.file_meta = FileMetaDataset()
    state.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    state.SOPClassUID, state.Modality = GrayscaleSoftcopyPresentationStateStorage, "PR"
    _named(state, random)
    state.StudyInstanceUID = image.StudyInstanceUID
    referenced, series, area, annotation, graphic = (Dataset() for _ in range(5))
    referenced.ReferencedSOPClassUID = image.SOPClassUID
    referenced.ReferencedSOPInstanceUID = random.choice([image.SOPInstanceUID, image.SOPInstanceUID, "1.2.3"])
    referenced.ReferencedFrameNumber = random.choice([1, 0, 99])
    series.SeriesInstanceUID = random.choice([image.SeriesInstanceUID, image.SeriesInstanceUID, "1.2.4"])
    series.ReferencedImageSequence = Sequence(random.choice([[referenced], [referenced], []]))
    state.ReferencedSeriesSequence = Sequence([series])
    area.DisplayedAreaTopLeftHandCorner = random.choice([[1, 1], [100, 100], [-9, 70_000], [1]])
    area.DisplayedAreaBottomRightHandCorner = random.choice([[128, 128], [1, 1], [0, 0]])
    area.PresentationSizeMode = random.choice(["SCALE TO FIT", "TRUE SIZE", "MAGNIFY", "X"])
    area.PresentationPixelMagnificationRatio = random.choice([1.0, 0.0, 1e30])
    state.DisplayedAreaSelectionSequence = Sequence(random.choice([[area], []]))
    graphic.GraphicAnnotationUnits, graphic.GraphicDimensions = random.choice(["PIXEL", "DISPLAY", "MATRIX"]), 2
    graphic.GraphicData = random.choice([[1.0, 1.0, 50.0, 50.0], [1.0], [float("nan")] * 4, [1e38] * 6])
    graphic.NumberOfGraphicPoints = random.choice([2, 0, 1000])
    graphic.GraphicType = random.choice(["POLYLINE", "CIRCLE", "ELLIPSE", "INTERPOLATED", "X"])
    annotation.GraphicLayer, annotation.GraphicObjectSequence = "L", Sequence([graphic])
    state.GraphicAnnotationSequence = Sequence([annotation])
    state.ImageRotation = random.choice([0, 90, 45, 65_535])
    state.SoftcopyVOILUTSequence = Sequence([look_up_table(random)])
    tables(state, random)
    state.ShutterShape = random.choice(["CIRCULAR", "POLYGONAL", "BITMAP", "X"])
    state.RadiusOfCircularShutter = random.choice([0, 1, 10_000])
    return state


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder, root, random = tmp_path_factory.mktemp("damaged"), tmp_path_factory.mktemp("store"), Random(47)  # noqa: S311
    made = [_damaged(base, random) for base in BASES for _ in range(FILES_OF_BASE)]
    made += [_state(image, random) for image in made[:STATES]]
    for number, data_set in enumerate(made):
        data_set.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    Embedded(root).fill([folder])
    service = Service(tmp_path_factory.mktemp("service"), {"DATASTORE_ROOT": str(root)})
    paths = (f"/studies/{one.StudyInstanceUID}/series/{one.SeriesInstanceUID}/instances/{one.SOPInstanceUID}"
             for one in made)  # fmt: skip
    yield Archive(tuple(path for path in paths if service.status(f"{path}/metadata") == 200), service)
    assert service.stop() == 0


def test_most_of_them_are_kept(archive: Archive) -> None:
    assert len(archive.paths) > (len(BASES) * FILES_OF_BASE + STATES) * 0.7


UNREADABLE = ("a stored frame does not have the size that its metadata states",)
"""What the data store has as native pixels is wrong, and not what was asked for: 502."""

RESOURCES = st.sampled_from(
    ["/rendered", "/thumbnail", "/frames/1/rendered", "/frames/2/thumbnail", "/frames/1,2/rendered"]
)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "viewport": st.sampled_from(["64,64", "1,1", "4096,8", "64,64,5,5,20,20", "64,64,-5,0,9999,-3", "9,9,900,900"]),
        "window": st.sampled_from(["40,400,linear", "0,1e-9,linear-exact", "-1e300,1e300,sigmoid", "1,0,linear"]),
        "iccprofile": st.sampled_from(["no", "yes", "srgb", "displayp3"]),
        "annotation": st.sampled_from(["patient", "technique", "patient,technique"]),
        "quality": st.sampled_from(["1", "100"]),
    },
)
TYPES = st.sampled_from(["image/jpeg", "image/png", "image/gif", "image/jp2", "image/apng", "*/*"])


@settings(max_examples=300, deadline=None)
@given(st.data(), RESOURCES, PARAMETERS, TYPES)
def test_each_is_drawn_or_refused_in_words(
    archive: Archive, data: st.DataObject, resource: str, parameters: dict[str, str], media_type: str
) -> None:
    path = data.draw(st.sampled_from(archive.paths))
    url = f"{archive.service.root}{path}{resource}?{urlencode(parameters)}"
    answer = requests.get(url, headers={"Accept": media_type}, timeout=60)
    if answer.status_code == 200:
        if answer.headers["Content-Type"].startswith("image/"):
            Image.open(BytesIO(answer.content)).load()
        return
    assert 400 <= answer.status_code < 500 or (answer.status_code == 502 and answer.json()["detail"] in UNREADABLE)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert not [value for value in PATIENT.values() if value in answer.text]


def test_the_log_has_neither_tracebacks_nor_patients(archive: Archive) -> None:
    for unwanted in ("Traceback", *PATIENT.values(), "Verletzt"):
        assert unwanted not in archive.service.log
