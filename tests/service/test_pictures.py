"""`/rendered` and `/thumbnail` at every level, asked as clients ask (PS3.18 Sections 10.4.1.1.3 and 10.4.1.1.4)."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.service.answers import Answer, get
from tests.service.archive import Sample
from tests.service.clinic import SLICES, Clinic
from tests.service.process import Service

FRAMES = 30
SEGMENTATION_FRAMES = 3
PNG, JPEG = "image/png", "image/jpeg"


def ask(service: Service, clinic: Clinic, target: str, accept: str = "", **headers: str) -> Answer:
    sent = {
        **({"Accept": accept} if accept else {}),
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    return get(service.root, target.format(**clinic.paths), sent)


def opened(answer: Answer) -> Any:
    assert answer.status == 200, answer.body
    found = Image.open(BytesIO(answer.body))
    assert found.get_format_mimetype() == answer.content_type
    return found


@pytest.mark.parametrize("resource", ["rendered", "thumbnail"])
@pytest.mark.parametrize(
    ("target", "same"),
    [
        pytest.param("{ct_series}", "{middle_ct}", id="series"),
        pytest.param("{slide_study}", "{slide}/frames/16", id="study"),
        pytest.param("{ct}", "{ct}/frames/1", id="instance"),
        pytest.param("{slide}/frames/7,8", "{slide}/frames/7", id="frames"),
    ],
)
def test_one_picture_stands_for_the_target(
    clinic_service: Service, clinic: Clinic, resource: str, target: str, same: str
) -> None:
    one, other = (opened(ask(clinic_service, clinic, f"{path}/{resource}", PNG)) for path in (target, same))
    assert np.array_equal(np.asarray(one), np.asarray(other))


def test_the_default_is_jpeg(clinic_service: Service, clinic: Clinic) -> None:
    for resource in ("rendered", "thumbnail"):
        assert ask(clinic_service, clinic, "{ct}/" + resource).content_type == JPEG


@pytest.mark.parametrize(
    ("target", "count"),
    [
        ("{ct_series}", SLICES),
        ("{ct_study}", SLICES + SEGMENTATION_FRAMES),
        ("{slide}", FRAMES),
        ("{slide}/frames/2,1", 2),
    ],
)
def test_all_pictures_come_in_multipart(clinic_service: Service, clinic: Clinic, target: str, count: int) -> None:
    answer = ask(clinic_service, clinic, f"{target}/rendered", 'multipart/related; type="image/jpeg"')
    assert answer.status == 200
    assert [part.content_type for part in answer.parts] == [JPEG] * count
    for part in answer.parts[:3]:
        assert part.location is not None
        alone = get(clinic_service.root, part.location.removeprefix(clinic_service.root), {"Accept": JPEG})
        assert alone.body == part.body


def test_frames_are_answered_in_the_order_asked_for(clinic_service: Service, clinic: Clinic) -> None:
    answer = ask(clinic_service, clinic, "{slide}/frames/2,1/rendered", 'multipart/related; type="image/png"')
    alone = [ask(clinic_service, clinic, f"{{slide}}/frames/{number}/rendered", PNG).body for number in (2, 1)]
    assert [part.body for part in answer.parts] == alone


@pytest.mark.parametrize("media_type", ["image/gif", "image/apng"])
def test_frames_of_one_instance_are_an_animation(clinic_service: Service, clinic: Clinic, media_type: str) -> None:
    animation = opened(ask(clinic_service, clinic, "{slide}/rendered?viewport=64,64", media_type))
    shown_ms = 0
    for index in range(animation.n_frames):  # equal neighbours are one frame that is shown for longer
        animation.seek(index)
        shown_ms += animation.info["duration"]
    assert shown_ms == pytest.approx(FRAMES * 33.3, abs=FRAMES * 5)
    assert opened(ask(clinic_service, clinic, "{slide}/frames/1/rendered", "image/gif")).n_frames == 1


def test_an_animation_may_have_all_colours(clinic_service: Service, clinic: Clinic) -> None:
    animation = opened(ask(clinic_service, clinic, "{slide}/rendered?viewport=64,64", "image/apng"))
    first = opened(ask(clinic_service, clinic, "{slide}/frames/1/rendered?viewport=64,64", PNG))
    assert np.array_equal(np.asarray(animation.convert("RGB")), np.asarray(first.convert("RGB")))


@pytest.mark.parametrize(
    ("query", "size"), [("", (200, 200)), ("?viewport=64,64", (64, 64)), ("?viewport=256%2C100", (100, 100))]
)
@pytest.mark.parametrize("target", ["{ct_study}", "{ct_series}", "{ct}", "{ct}/frames/1"])
def test_a_thumbnail_fits_its_viewport(
    clinic_service: Service, clinic: Clinic, target: str, query: str, size: tuple[int, int]
) -> None:
    assert opened(ask(clinic_service, clinic, f"{target}/thumbnail{query}")).size == size


def test_what_has_not_changed_is_not_sent_again(clinic_service: Service, clinic: Clinic) -> None:
    for target in ("{ct}/rendered", "{ct}/thumbnail", "{document}/thumbnail"):
        first = ask(clinic_service, clinic, target)
        again = ask(clinic_service, clinic, target, If_None_Match=first.headers["ETag"])
        assert (again.status, again.body) == (304, b"")
        other = ask(clinic_service, clinic, f"{target}?viewport=50,50")
        assert other.headers["ETag"] != first.headers["ETag"]


def _extremes(picture: Image.Image) -> tuple[int, int]:
    """The darkest and the brightest grey."""
    grey = np.asarray(picture.convert("L"))
    return int(grey.min()), int(grey.max())


def test_a_document_has_an_icon(clinic_service: Service, clinic: Clinic) -> None:
    icon = opened(ask(clinic_service, clinic, "{document}/thumbnail?viewport=80,60"))
    assert icon.size == (80, 60)
    assert _extremes(icon) > (0, 128)


@pytest.mark.parametrize("name", ["test-SR.dcm", "rtplan.dcm", "waveform_ecg.dcm"])
def test_what_has_no_pixels_has_a_thumbnail(service: Service, samples: dict[str, Sample], name: str) -> None:
    path = "/studies/{}/series/{}/instances/{}/thumbnail".format(*samples[name].uids)
    icon = opened(get(service.root, path, {}))
    darkest, brightest = _extremes(icon)
    assert brightest - darkest > 100


def test_radiotherapy_plans_cannot_be_rendered(service: Service, samples: dict[str, Sample]) -> None:
    path = "/studies/{}/series/{}/instances/{}/rendered".format(*samples["rtplan.dcm"].uids)
    assert get(service.root, path, {}).status == 406


def test_an_unknown_annotation_is_told_and_a_known_one_drawn(clinic_service: Service, clinic: Clinic) -> None:
    plain, told, drawn = (
        ask(clinic_service, clinic, f"{{ct}}/rendered{query}", PNG)
        for query in ("", "?annotation=scale", "?annotation=patient")
    )
    assert "scale" in told.headers["Warning"]
    assert "Warning" not in plain.headers and "Warning" not in drawn.headers
    assert plain.body == told.body != drawn.body


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("window=1,2", 400),
        ("viewport=0,0", 400),
        ("viewport=10,10,5000,0,5,5", 400),
        ("quality=101", 400),
        ("iccprofile=adobe", 400),
        ("iccprofile=yes&accept=image/gif", 400),
    ],
)
def test_what_cannot_be_drawn_as_asked_is_refused(
    clinic_service: Service, clinic: Clinic, query: str, status: int
) -> None:
    answer = ask(clinic_service, clinic, f"{{ct}}/rendered?{query}")
    assert (answer.status, answer.content_type) == (status, "application/problem+json")


@pytest.mark.parametrize("accept", ["text/html", "video/mp4", "image/webp"])
def test_types_that_are_not_offered_are_refused(clinic_service: Service, clinic: Clinic, accept: str) -> None:
    for resource in ("rendered", "thumbnail"):
        assert ask(clinic_service, clinic, f"{{ct}}/{resource}", accept).status == 406


def test_a_frame_beyond_the_last_is_not_found(clinic_service: Service, clinic: Clinic) -> None:
    for resource in ("rendered", "thumbnail"):
        assert ask(clinic_service, clinic, f"{{slide}}/frames/{FRAMES + 1}/{resource}").status == 404


def test_a_small_picture_is_the_same_whatever_was_asked_for_before(
    clinic: Clinic, clinic_root: Path, tmp_path: Path
) -> None:
    """Its entity tag says so. It is made of a lower resolution where there is one."""
    settings = {"DATASTORE_ROOT": str(clinic_root), "PUBLIC_URL": "https://dicom.example.org"}
    found: list[Any] = []
    for before in ("", "{ct}/frames/1"):
        service = Service(tmp_path / f"after{len(found)}", settings)
        try:
            if before:
                assert ask(service, clinic, before, "application/octet-stream").status == 200
            small = ask(service, clinic, "{ct}/thumbnail?viewport=50,50", PNG)
        finally:
            service.stop()
        found.append((small.status, small.headers["ETag"], small.body))
    assert found[0] == found[1]
    assert found[0][0] == 200
