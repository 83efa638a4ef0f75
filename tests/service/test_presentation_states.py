"""Presentation states as the target of `/rendered` and `/thumbnail`, and as a parameter of WADO-URI."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.pydicom_files import pydicom_path
from tests.service.answers import Answer, get
from tests.service.process import ROOT, Service
from tests.wado.rendering.made import made
from tests.wado.rendering.states import annotation, graphic, reference, state_for, words

PNG = "image/png"
CENTER, WIDTH = 1000, 800
SLICES, FRAMES = 3, 30
WINDOW: dict[str, Any] = {"SoftcopyVOILUTSequence": [made(WindowCenter=str(CENTER), WindowWidth=str(WIDTH))]}


Ask = Callable[..., Answer]


@dataclass(frozen=True)
class Ward:
    """What the service holds: slices of a CT, a cine in colour, and states by name."""

    slices: tuple[Dataset, ...]
    cine: Dataset
    states: dict[str, Dataset]


def _ward() -> Ward:
    study, series = generate_uid(), generate_uid()
    slices = tuple(_image("CT_small.dcm", study, series, InstanceNumber=number) for number in (1, 2, 3))
    cine = _image("examples_ybr_color.dcm", study, generate_uid())
    absent = _image("CT_small.dcm", study, series)
    colour = state_for(cine, colour=True, ImageRotation=90, ImageHorizontalFlip="N")
    colour.ReferencedSeriesSequence[0].ReferencedImageSequence[0].ReferencedFrameNumber = [3, 5]
    states = {
        "window": state_for(slices[1], **WINDOW),
        "two": state_for(slices[2], slices[0], **WINDOW),
        "incomplete": state_for(absent, slices[1], **WINDOW),
        "absent": state_for(absent, **WINDOW),
        "colour": colour,
        "scattered": state_for(
            *(_image("CT_small.dcm", study, generate_uid()) for _ in range(20)), slices[1], **WINDOW
        ),
        "drawing": state_for(
            slices[0],
            **WINDOW,
            DisplayedAreaSelectionSequence=[
                made(
                    ReferencedImageSequence=[reference(slices[0])],
                    DisplayedAreaTopLeftHandCorner=[33, 1],
                    DisplayedAreaBottomRightHandCorner=[128, 64],
                    PresentationSizeMode="SCALE TO FIT",
                    PresentationPixelAspectRatio=[1, 1],
                )
            ],
            ShutterShape="CIRCULAR",
            CenterOfCircularShutter=[32, 64],
            RadiusOfCircularShutter=40,
            ShutterPresentationValue=0,
            GraphicAnnotationSequence=[
                annotation("L", graphic("CIRCLE", 64, 32, 84, 32), words("Lesion", (70, 5, 120, 20), (64, 32)))
            ],
        ),
    }
    return Ward(slices, cine, states)


def _image(name: str, study: str, series: str, **attributes: int) -> Dataset:
    path = pydicom_path(name)
    data_set = dcmread(path)
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID = study, series, generate_uid()
    for keyword, value in {"PatientID": "1", **attributes}.items():
        setattr(data_set, keyword, value)
    if name == "CT_small.dcm":
        data_set.PixelData = (data_set.pixel_array + attributes.get("InstanceNumber", 0)).tobytes()
    return data_set


@pytest.fixture(scope="module")
def ward() -> Ward:
    return _ward()


@pytest.fixture(scope="module")
def service(ward: Ward, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that holds the ward."""
    folder, root = tmp_path_factory.mktemp("ward"), tmp_path_factory.mktemp("ward-store")
    for number, data_set in enumerate((*ward.slices, ward.cine, *ward.states.values())):
        _write(data_set, folder / f"{number}.dcm")
    environment = {**os.environ, "DATASTORE_ROOT": str(root)}
    subprocess.run([sys.executable, "main.py", "import", str(folder)], cwd=ROOT, env=environment, check=True)
    service = Service(tmp_path_factory.mktemp("ward-service"), {"DATASTORE_ROOT": str(root)})
    yield service
    service.stop()


def _write(data_set: Dataset, path: Path) -> None:
    if not hasattr(data_set, "file_meta"):
        data_set.file_meta = FileMetaDataset()
        data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.save_as(path, enforce_file_format=True)


def path_of(data_set: Dataset) -> str:
    series = f"/studies/{data_set.StudyInstanceUID}/series/{data_set.SeriesInstanceUID}"
    return f"{series}/instances/{data_set.SOPInstanceUID}"


@pytest.fixture(scope="module")
def rendered(service: Service, ward: Ward) -> Ask:
    """Asks for the rendered form of a state by its name."""

    def ask(name: str, accept: str = PNG, query: str = "", resource: str = "rendered", **headers: str) -> Answer:
        sent = {"Accept": accept, **{header.replace("_", "-"): value for header, value in headers.items()}}
        return get(service.root, f"{path_of(ward.states[name])}/{resource}{query}", sent)

    return ask


def pixels(answer: Answer) -> np.ndarray:
    assert answer.status == 200, answer.body
    return np.asarray(Image.open(BytesIO(answer.body)))


def windowed(image: Dataset) -> np.ndarray:
    """PS3.3 Section C.11.2.1.2.1 over stored values: the state has no rescale."""
    x = image.pixel_array.astype(float)
    return np.asarray((((x - (CENTER - 0.5)) / (WIDTH - 1) + 0.5).clip(0, 1) * 255).round())


def test_the_image_is_drawn_by_the_state(rendered: Ask, ward: Ward) -> None:
    found = pixels(rendered("window"))
    assert found.shape == (128, 128)
    assert abs(found - windowed(ward.slices[1])).max() <= 1


def test_the_first_in_display_order_stands_for_all(rendered: Ask, ward: Ward) -> None:
    assert abs(pixels(rendered("two")) - windowed(ward.slices[0])).max() <= 1


def test_all_come_in_multipart_each_with_an_address(rendered: Ask, service: Service, ward: Ward) -> None:
    answer = rendered("two", 'multipart/related; type="image/png"')
    assert answer.status == 200 and len(answer.parts) == 2
    for part, image in zip(answer.parts, (ward.slices[0], ward.slices[2]), strict=True):
        assert abs(np.asarray(Image.open(BytesIO(part.body))) - windowed(image)).max() <= 1
        assert part.location is not None
        alone = get(service.root, part.location.removeprefix(service.root) + "&contentType=image/png", {})
        assert alone.body == part.body


def test_area_shutter_and_annotations_are_drawn(rendered: Ask) -> None:
    found = pixels(rendered("drawing", query="?viewport=384,256"))
    assert found.shape == (256, 384)
    scale, (left, upper) = 4, (32, 0)
    y, x = np.mgrid[0:256, 0:384] + 0.5
    outside = np.hypot(x / scale + left - 63.5, y / scale + upper - 31.5) > 41
    inked = found == 255
    assert (found[outside & ~inked] < 40).mean() > 0.95
    assert found[32 * scale, (84 - left) * scale - 2 : (84 - left) * scale + 2].max() > 200, "the circle"
    box = found[5 * scale : 20 * scale, (70 - left) * scale : (120 - left) * scale]
    assert (box > 200).mean() > 0.05 and (box < 40).mean() > 0.05, "the text"


def test_a_state_of_colours_turns_its_frames(rendered: Ask, service: Service, ward: Ward) -> None:
    answer = rendered("colour", 'multipart/related; type="image/png"')
    assert len(answer.parts) == 2
    for number, part in zip((3, 5), answer.parts, strict=True):
        plain = pixels(get(service.root, f"{path_of(ward.cine)}/frames/{number}/rendered", {"Accept": PNG}))
        assert np.array_equal(np.asarray(Image.open(BytesIO(part.body))), np.rot90(plain, -1))


def test_frames_of_one_image_are_an_animation(rendered: Ask) -> None:
    answer = rendered("colour", "image/gif", "?viewport=64,64")
    assert answer.status == 200
    animation: Any = Image.open(BytesIO(answer.body))
    assert animation.n_frames == 2


def test_what_is_not_stored_is_told(rendered: Ask, ward: Ward) -> None:
    answer = rendered("incomplete")
    assert abs(pixels(answer) - windowed(ward.slices[1])).max() <= 1
    assert "1 of the images" in answer.headers["Warning"]
    assert rendered("absent").status == 404
    assert b"presentation state" in rendered("absent").body
    assert rendered("window", "text/html").status == 406


@pytest.mark.parametrize("query", ["?window=40,400,linear", "?windowcenter=40&windowwidth=400"])
def test_a_window_does_not_go_with_a_state(rendered: Ask, query: str) -> None:
    assert rendered("window", query=query).status == 400


def test_a_thumbnail_is_that_of_the_image_and_without_one_an_icon(rendered: Ask) -> None:
    drawn, icon = (
        np.asarray(Image.open(BytesIO(rendered(name, resource="thumbnail", query="?viewport=64,64").body)))
        for name in ("window", "absent")
    )
    assert drawn.shape == (64, 64) and icon.shape == (64, 64, 3)


def test_it_is_known_by_its_tag(rendered: Ask) -> None:
    first = rendered("window")
    assert rendered("window", If_None_Match=first.headers["ETag"]).status == 304
    tags = {rendered(name).headers["ETag"] for name in ("window", "two", "drawing", "incomplete")}
    assert len(tags) == 4


def test_a_series_of_a_state_is_rendered_as_the_state(service: Service, ward: Ward, rendered: Ask) -> None:
    series = path_of(ward.states["window"]).partition("/instances/")[0]
    assert get(service.root, f"{series}/rendered", {"Accept": PNG}).body == rendered("window").body


def by_uri(service: Service, image: Dataset, state: Dataset, **more: str) -> Answer:
    query = {
        "requestType": "WADO",
        "studyUID": image.StudyInstanceUID,
        "seriesUID": image.SeriesInstanceUID,
        "objectUID": image.SOPInstanceUID,
        "contentType": PNG,
        "presentationUID": state.SOPInstanceUID,
        "presentationSeriesUID": state.SeriesInstanceUID,
        **more,
    }
    return get(service.root, "/wado?" + "&".join(f"{name}={value}" for name, value in query.items()), {})


def test_wado_uri_applies_a_state(service: Service, ward: Ward, rendered: Ask) -> None:
    answer = by_uri(service, ward.slices[1], ward.states["window"])
    assert answer.body == rendered("window").body and "Warning" not in answer.headers
    plain = by_uri(service, ward.slices[2], ward.states["two"])
    assert plain.headers["ETag"] != answer.headers["ETag"]
    colour = by_uri(service, ward.cine, ward.states["colour"], frameNumber="5", rows="100", columns="100")
    assert max(Image.open(BytesIO(colour.body)).size) == 100


def test_a_state_by_itself_is_an_object_or_the_picture_of_its_first_image(
    service: Service, ward: Ward, rendered: Ask
) -> None:
    state = ward.states["two"]
    names = zip(("studyUID", "seriesUID", "objectUID"), path_of(state).split("/")[2::2], strict=True)
    url = "/wado?requestType=WADO&" + "&".join(f"{name}={uid}" for name, uid in names)
    assert get(service.root, url, {}).content_type.startswith("application/dicom")
    assert get(service.root, f"{url}&contentType=image/png", {}).body == rendered("two").body
    assert get(service.root, f"{url}&contentType=image/png&windowCenter=1&windowWidth=9", {}).status == 400


def test_a_state_may_be_for_many_series(rendered: Ask, ward: Ward) -> None:
    answer = rendered("scattered")
    assert abs(pixels(answer) - windowed(ward.slices[1])).max() <= 1
    assert "20 of the images" in answer.headers["Warning"]


def test_a_region_is_of_what_the_state_shows(service: Service, ward: Ward, rendered: Ask) -> None:
    whole = pixels(rendered("drawing"))
    part = pixels(by_uri(service, ward.slices[0], ward.states["drawing"], region="0.5,0,1,0.5"))
    assert whole.shape == (64, 96) and part.shape == (32, 48)


@pytest.mark.parametrize(
    ("image", "state", "more", "status"),
    [
        pytest.param(0, "window", {}, 400, id="for another image"),
        pytest.param(3, "colour", {"frameNumber": "4"}, 400, id="for another frame"),
        pytest.param(1, "window", {"presentationUID": "1.2.3"}, 404, id="no such state"),
        pytest.param(1, "window", {"windowCenter": "40", "windowWidth": "400"}, 400, id="with a window"),
    ],
)
def test_a_state_that_cannot_be_applied_is_told(
    service: Service, ward: Ward, image: int, state: str, more: dict[str, str], status: int
) -> None:
    assert by_uri(service, (*ward.slices, ward.cine)[image], ward.states[state], **more).status == status


def test_an_image_is_no_state(service: Service, ward: Ward) -> None:
    assert by_uri(service, ward.slices[0], ward.slices[1]).status == 400
