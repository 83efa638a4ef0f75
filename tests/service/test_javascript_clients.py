"""JavaScript clients in a browser, on a page of another origin: they search, load and decode what the service sends."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Response
from pydicom import dcmread
from pydicom.uid import JPEG2000, JPEGBaseline8Bit

from tests.service.archive import Sample
from tests.service.browser import call, chromium_page, files_served, unpacked
from tests.service.clinic import KEPT_AS, PDF, SLICES, Clinic
from tests.service.process import Service

BUNDLE = Path(__file__).parent / "javascript" / "bundle"
HTJ2K = "1.2.840.10008.1.2.4.202"


@pytest.fixture(scope="module")
def empty_page() -> Iterator[Page]:
    """The clients, and no service yet. Nothing on the page may go wrong unseen."""
    assert BUNDLE.is_dir(), "please run script/bundle"
    complaints: list[str] = []
    with files_served(BUNDLE) as url, chromium_page() as page:
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        yield page
    assert complaints == []


@pytest.fixture(scope="module")
def page(empty_page: Page, service: Service) -> Page:
    """A browser that looks at the samples."""
    call(empty_page, "connect", service.root)
    return empty_page


@pytest.fixture
def clinic_page(empty_page: Page, clinic_service: Service, service: Service) -> Iterator[Page]:
    """A browser that looks at the clinic."""
    call(empty_page, "connect", clinic_service.root)
    yield empty_page
    call(empty_page, "connect", service.root)


IMAGES = [
    pytest.param("CT_small.dcm", 1, id="16 bits, signed"),
    pytest.param("MR_small_RLE.dcm", 1, id="16 bits, signed, from RLE"),
    pytest.param("MR_small_jpeg_ls_lossless.dcm", 1, id="16 bits, signed, from JPEG-LS"),
    pytest.param("J2K_pixelrep_mismatch.dcm", 1, id="13 bits, signed, from JPEG 2000"),
    pytest.param("emri_small.dcm", 1, id="12 bits, first of ten frames"),
    pytest.param("emri_small_big_endian.dcm", 10, id="12 bits, last of ten frames, from big endian"),
    pytest.param("vlut_04.dcm", 1, id="8 bits"),
    pytest.param("JPEGLSNearLossless_08.dcm", 1, id="8 bits, from lossy JPEG-LS"),
    pytest.param("JPEGLSNearLossless_16.dcm", 1, id="16 bits, from lossy JPEG-LS"),
    pytest.param("6154", 1, id="12 bits, MONOCHROME1"),
    pytest.param("examples_rgb_color.dcm", 1, id="RGB"),
    pytest.param("SC_rgb_small_odd.dcm", 1, id="RGB, an odd size"),
    pytest.param("SC_rgb_rle_2frame.dcm", 2, id="RGB, two frames, from RLE"),
    pytest.param("SC_rgb_jls_lossy_line.dcm", 1, id="RGB, from lossy JPEG-LS"),
    pytest.param("SC_rgb_jpeg_gdcm.dcm", 1, id="RGB, from lossless JPEG"),
    pytest.param("examples_jpeg2k.dcm", 1, id="YBR_RCT, from JPEG 2000"),
    pytest.param("693_J2KI.dcm", 1, id="lossy JPEG 2000, as stored"),
]
"""Lossless ones come as the data store keeps them, which is HTJ2K, whatever they came from."""


def _source(sample: Sample, frame_number: int) -> np.ndarray:
    data_set = sample.read()
    pixels = data_set.pixel_array
    return pixels[frame_number - 1] if int(data_set.get("NumberOfFrames", 1)) > 1 else pixels


def _loaded(page: Page, sample: Sample, frame_number: int) -> tuple[str, np.ndarray]:
    """The transfer syntax that the loader was told, and the pixels that it decoded, in the shape of the source."""
    image = call(page, "image", _path(sample), frame_number)
    pixels = np.frombuffer(unpacked(image["pixels"]), image["type"].removesuffix("Array").lower())
    source = _source(sample, frame_number)
    assert (image["rows"], image["columns"]) == source.shape[:2]
    return image["transferSyntaxUID"], pixels.reshape(source.shape)


def _path(sample: Sample) -> str:
    return "/studies/{}/series/{}/instances/{}".format(*sample.uids)


@pytest.mark.parametrize(("name", "frame_number"), IMAGES)
def test_the_image_loader_decodes_the_pixels_of_the_source(
    page: Page, samples: dict[str, Sample], name: str, frame_number: int
) -> None:
    syntax, pixels = _loaded(page, samples[name], frame_number)
    assert syntax == (JPEG2000 if name == "693_J2KI.dcm" else KEPT_AS)
    assert np.array_equal(pixels.astype(int), _source(samples[name], frame_number))


@pytest.mark.parametrize("name", ["examples_ybr_color.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_jpeg_dcmtk.dcm"])
def test_the_browser_shows_the_colours_of_a_jpeg_frame(page: Page, samples: dict[str, Sample], name: str) -> None:
    """Its decoder rounds in a way of its own."""
    syntax, pixels = _loaded(page, samples[name], 1)
    assert syntax == JPEGBaseline8Bit
    assert np.abs(pixels.astype(int) - _source(samples[name], 1)).max() <= 3


@pytest.mark.parametrize("name", ["J2K_pixelrep_mismatch.dcm", "vlut_04.dcm", "examples_rgb_color.dcm"])
def test_each_resolution_is_whole_where_the_header_says_that_it_ends(
    page: Page, samples: dict[str, Sample], name: str
) -> None:
    """A viewer shows the picture at a lower resolution as soon as that has come."""
    frame = _path(samples[name]) + "/frames/1"
    whole = call(page, "resolution", frame, 2**31, 0)
    if KEPT_AS != HTJ2K:
        assert whole["resolutionEnds"] is None
        return
    ends = [int(end) for end in whole["resolutionEnds"].split(", ")]
    assert unpacked(whole["pixels"]) == _source(samples[name], 1).tobytes()
    for level, end in enumerate(reversed(ends)):
        first = call(page, "resolution", frame, end, level)
        complete = call(page, "resolution", frame, 2**31, level)
        assert first["status"] == 206
        assert first["contentRange"].startswith(f"bytes 0-{end - 1}/")
        assert first["rows"] == -(-whole["rows"] // 2**level)
        assert first["columns"] == -(-whole["columns"] // 2**level)
        assert first["pixels"] == complete["pixels"]


def test_the_image_loader_shows_a_part_of_a_frame_and_then_fetches_the_rest(
    page: Page, samples: dict[str, Sample]
) -> None:
    sample, answers = samples["J2K_pixelrep_mismatch.dcm"], []

    def note(answer: Response) -> None:
        answers.append(answer)

    page.on("response", note)
    first, last = call(page, "progressively", _path(sample), 1, 20_000)
    page.remove_listener("response", note)
    ranges = [str(one.header_value("content-range")) for one in answers if "/frames/" in one.url and one.status == 206]
    total = ranges[0].partition("/")[2]
    assert ranges == [f"bytes 0-19999/{total}", f"bytes 20000-{int(total) - 1}/{total}"]
    if KEPT_AS == HTJ2K:
        assert (first["rows"], last["rows"]) == (256, 512)
    assert np.array_equal(np.frombuffer(unpacked(last["pixels"]), "<i2"), _source(sample, 1).ravel())


def _uids(path: str) -> dict[str, str]:
    """As dicomweb-client takes them."""
    names = ("studyInstanceUID", "seriesInstanceUID", "sopInstanceUID")
    return dict(zip(names, path.split("/")[2::2], strict=False))


@pytest.mark.parametrize(
    ("method", "options", "count"),
    [
        ("searchForStudies", {}, 2),
        ("searchForStudies", {"queryParams": {"PatientName": "doe*", "ModalitiesInStudy": "CT"}}, 1),
        ("searchForStudies", {"queryParams": {"PatientID": "nobody"}}, 0),
        ("searchForSeries", {}, 4),
        ("searchForSeries", {"of": "ct_study"}, 3),
        ("searchForInstances", {"of": "ct_study"}, SLICES + 2),
        ("searchForInstances", {"of": "ct_series", "queryParams": {"limit": 2, "offset": 4}}, 1),
        ("retrieveStudyMetadata", {"of": "ct_study"}, SLICES + 2),
        ("retrieveSeriesMetadata", {"of": "ct_series"}, SLICES),
    ],
)
def test_dicomweb_client_finds_data_sets(
    clinic_page: Page, clinic: Clinic, method: str, options: dict[str, Any], count: int
) -> None:
    uids = _uids(clinic.paths[options["of"]]) if "of" in options else {}
    given = {name: value for name, value in options.items() if name != "of"}
    assert len(call(clinic_page, "dicomweb", method, {**uids, **given})) == count


@pytest.mark.parametrize(
    ("method", "of", "count"), [("retrieveStudy", "ct_study", SLICES + 2), ("retrieveSeries", "ct_series", SLICES)]
)
def test_dicomweb_client_retrieves_part_10_objects(
    clinic_page: Page, clinic: Clinic, method: str, of: str, count: int
) -> None:
    received = call(clinic_page, "dicomweb", method, _uids(clinic.paths[of]))
    assert len(received) == count
    for text in received:
        data_set = dcmread(BytesIO(unpacked(text)))
        expected = b"".join(clinic.frames(data_set.SOPInstanceUID))
        assert data_set.get("PixelData", b"")[: len(expected)] == expected


def test_dicomweb_client_retrieves_an_instance(clinic_page: Page, clinic: Clinic) -> None:
    uids = _uids(clinic.paths["ct"])
    (text,) = call(clinic_page, "dicomweb", "retrieveInstance", uids)
    received = dcmread(BytesIO(unpacked(text)))
    assert np.array_equal(received.pixel_array, clinic.slices[0].pixel_array)
    (metadata,) = call(clinic_page, "dicomweb", "retrieveInstanceMetadata", uids)
    assert metadata["00080018"]["Value"] == [uids["sopInstanceUID"]]


def test_dicomweb_client_retrieves_frames_in_the_order_asked_for(clinic_page: Page, clinic: Clinic) -> None:
    asked = {**_uids(clinic.paths["slide"]), "frameNumbers": [30, 1, 7]}
    frames = clinic.frames(clinic.slide.SOPInstanceUID)
    native = call(clinic_page, "dicomweb", "retrieveInstanceFrames", asked)
    assert [unpacked(text) for text in native] == [frames[29], frames[0], frames[6]]
    types = [{"mediaType": "image/jpeg", "transferSyntaxUID": JPEGBaseline8Bit}]
    stored = call(clinic_page, "dicomweb", "retrieveInstanceFrames", {**asked, "mediaTypes": types})
    assert [unpacked(text)[:2] for text in stored] == [b"\xff\xd8"] * 3


def test_dicomweb_client_retrieves_bulk_data_and_a_range_of_it(clinic_page: Page, clinic: Clinic) -> None:
    (metadata,) = call(clinic_page, "dicomweb", "retrieveInstanceMetadata", _uids(clinic.paths["document"]))
    asked = {"BulkDataURI": metadata["00420011"]["BulkDataURI"]}
    (whole,) = call(clinic_page, "dicomweb", "retrieveBulkData", asked)
    assert unpacked(whole)[: len(PDF)] == PDF
    single = {**asked, "singlepart": "bulkdata", "headers": {"Range": "bytes=9-19"}}
    (part,) = call(clinic_page, "dicomweb", "retrieveBulkData", single)
    assert unpacked(part) == PDF[9:20]


@pytest.mark.parametrize("method", ["retrieveInstanceRendered", "retrieveInstanceFramesRendered"])
@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png"])
def test_dicomweb_client_retrieves_a_picture(clinic_page: Page, clinic: Clinic, method: str, media_type: str) -> None:
    asked = {**_uids(clinic.paths["ct"]), "frameNumbers": [1], "mediaTypes": [{"mediaType": media_type}]}
    (text,) = call(clinic_page, "dicomweb", method, asked)
    picture = Image.open(BytesIO(unpacked(text)))
    assert (picture.get_format_mimetype(), picture.size) == (media_type, (128, 128))
